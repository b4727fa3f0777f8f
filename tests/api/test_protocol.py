"""An answer leaves in one piece, and nothing that is held is lost."""

import asyncio
from collections.abc import Iterable

from api.protocol import GatheredTransport


class RecordingTransport(asyncio.Transport):
    """Takes what is written, a tuple for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.calls.append(b"".join(list_of_data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def test_head_and_body_are_one_call() -> None:
    recorded = RecordingTransport()
    transport = GatheredTransport(recorded)
    transport.write(b"head ")
    transport.write(b"body")
    assert recorded.calls == [b"head body"]
    await asyncio.sleep(0)
    assert recorded.calls == [b"head body"]


async def test_a_head_alone_leaves_at_the_end_of_the_turn() -> None:
    recorded = RecordingTransport()
    transport = GatheredTransport(recorded)
    transport.write(b"HTTP/1.1 100 Continue")
    assert recorded.calls == []
    await asyncio.sleep(0)
    assert recorded.calls == [b"HTTP/1.1 100 Continue"]


async def test_closing_sends_what_is_held_first() -> None:
    recorded = RecordingTransport()
    transport = GatheredTransport(recorded)
    transport.write(b"last words")
    transport.close()
    assert recorded.calls == [b"last words"]
    assert transport.is_closing()


async def test_answers_one_after_the_other_stay_in_order() -> None:
    recorded = RecordingTransport()
    transport = GatheredTransport(recorded)
    for piece in (b"1", b"2", b"3", b"4", b"5"):
        transport.write(piece)
    await asyncio.sleep(0)
    assert b"".join(recorded.calls) == b"12345"
