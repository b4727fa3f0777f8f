"""Whoever sends half a request, or a head without an end, holds a connection for a while and no longer."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.protocol import BODY_S, HEAD_BYTES_MAX, HEAD_S, KEEP_ALIVE_S, LeanProtocol, close_overdue
from tests.api.platform import Api
from tests.api.test_protocol import RecordingTransport

HEAD = b"POST /v1/casts HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    del scope
    while (message := await receive()).get("more_body", False):
        pass
    if message["type"] == "http.request":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Connection:
    """A connection of ours and what was written to it; its time is the loop's plus what `close` is told passed."""

    def __init__(self) -> None:
        self.state = ServerState()
        config = uvicorn.Config(answer, http=LeanProtocol, lifespan="off", timeout_keep_alive=KEEP_ALIVE_S)
        self.protocol = LeanProtocol(config, self.state, {})
        self.recorded = RecordingTransport()
        self.protocol.connection_made(self.recorded)

    async def receive(self, data: bytes) -> None:
        self.protocol.data_received(data)
        await asyncio.gather(*self.state.tasks)

    def close(self, passed_s: float) -> bool:
        """Tell whether the connection is closed after so much time."""
        close_overdue(self.state.connections, asyncio.get_running_loop().time() + passed_s)
        return self.recorded.closed

    @property
    def written(self) -> bytes:
        return b"".join(self.recorded.calls)


@pytest.fixture
async def connection() -> AsyncGenerator[Connection]:
    made = Connection()
    yield made
    made.protocol.connection_lost(None)
    await asyncio.gather(*made.state.tasks)


# Enough for the slowest machine between two lines of a test.
SLACK_S = 5


async def test_a_connection_that_says_nothing_is_closed(connection: Connection) -> None:
    assert not connection.close(KEEP_ALIVE_S - SLACK_S)
    assert connection.close(KEEP_ALIVE_S + 1)


async def test_half_a_head_is_waited_for_shortly(connection: Connection) -> None:
    for piece in (b"POST /v1/ca", b"sts HTTP/1.1\r\n", b"host: x\r\n"):
        connection.protocol.data_received(piece)
    assert not connection.close(HEAD_S - SLACK_S)
    assert connection.close(HEAD_S + 1)


async def test_half_a_body_is_waited_for_longer_and_ends_the_request(connection: Connection) -> None:
    connection.protocol.data_received(HEAD + b"\r\nab")
    assert not connection.close(BODY_S - SLACK_S)
    assert connection.close(BODY_S + 1)
    connection.protocol.connection_lost(None)
    await asyncio.gather(*connection.state.tasks)
    assert connection.written == b""


async def test_a_whole_request_is_answered_however_long_that_takes(connection: Connection) -> None:
    connection.protocol.data_received(HEAD + b"\r\nabcd")
    assert not connection.close(10 * BODY_S)
    await asyncio.gather(*connection.state.tasks)
    assert connection.written.startswith(b"HTTP/1.1 204")
    assert not connection.close(KEEP_ALIVE_S - SLACK_S)
    assert connection.close(KEEP_ALIVE_S + 1)


async def test_empty_lines_keep_no_connection_open(connection: Connection) -> None:
    await connection.receive(HEAD + b"\r\nabcd")
    await connection.receive(b"\r\n")
    assert connection.close(KEEP_ALIVE_S + 1)


async def test_a_second_request_has_its_own_time(connection: Connection) -> None:
    await connection.receive(HEAD + b"\r\nabcd")
    await connection.receive(b"\r\n")
    await connection.receive(HEAD + b"\r\nabcd")
    assert connection.written.count(b"HTTP/1.1 204") == 2
    assert not connection.close(KEEP_ALIVE_S - SLACK_S)


async def test_what_is_left_of_a_body_is_taken_in_its_time_after_an_early_answer(connection: Connection) -> None:
    connection.protocol.app = refuse
    await connection.receive(HEAD + b"\r\nab")
    assert connection.written.startswith(b"HTTP/1.1 204")
    assert not connection.close(BODY_S - SLACK_S)
    await connection.receive(b"cd")
    assert not connection.close(KEEP_ALIVE_S - SLACK_S)
    assert connection.close(KEEP_ALIVE_S + 1)


async def test_who_is_not_read_from_is_not_late(connection: Connection) -> None:
    """A body that our own handler has not taken yet: reading is paused, and the other side cannot go on."""
    connection.protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n" + bytes(100_000))
    assert connection.protocol.flow.read_paused
    assert not connection.close(BODY_S + 1)


async def test_a_head_without_an_end_is_refused(connection: Connection) -> None:
    connection.protocol.data_received(b"GET / HTTP/1.1\r\n")
    for number in range(HEAD_BYTES_MAX // 1_000 + 2):
        connection.protocol.data_received(b"x-%d: %s\r\n" % (number, b"y" * 1_000))
        if connection.recorded.closed:
            break
    assert connection.recorded.closed
    assert connection.written.startswith(b"HTTP/1.1 431")


async def test_a_long_head_that_ends_is_served(connection: Connection) -> None:
    await connection.receive(b"GET / HTTP/1.1\r\nhost: x\r\ncookie: " + b"y" * (HEAD_BYTES_MAX - 100) + b"\r\n\r\n")
    assert connection.written.startswith(b"HTTP/1.1 204")


def test_the_api_serves_no_request_whose_head_is_too_long(api: Api) -> None:
    async def send() -> bytes:
        host, port = api.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        try:
            for number in range(1_000):
                writer.write(b"x-%d: %s\r\n" % (number, b"y" * 1_000))
                await writer.drain()
            writer.write(b"connection: close\r\n\r\n")
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    said = asyncio.run(send())
    # Whoever still writes when the other side has closed may never read what it said.
    assert said == b"" or said.startswith(b"HTTP/1.1 431")
    assert api.http.get("/healthz").status_code == 200
