import asyncio

import pytest

from bench.generator import Load, LoadError, LoadResult, generate, http_request, percentile

REQUEST = http_request("POST", "/", b"{}", [("x-one", "1")])
ANSWER = b"HTTP/1.1 202 Accepted\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello"


class Server(asyncio.Protocol):
    """Answers each request with `answer`, a piece a turn of the loop; with no answer it hangs up."""

    def __init__(self, answer: list[bytes], received: list[bytes]) -> None:
        self._answer = answer
        self._received = received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        if not self._answer:
            self._transport.close()
        self._send(self._answer)

    def _send(self, pieces: list[bytes]) -> None:
        if pieces:
            self._transport.write(pieces[0])
            asyncio.get_running_loop().call_soon(self._send, pieces[1:])


async def run(
    answer: list[bytes], *, count: int | None = None, seconds: float | None = None
) -> tuple[list[bytes], LoadResult]:
    """Make a load against a server that answers each request with `answer`."""
    received: list[bytes] = []
    server = await asyncio.get_running_loop().create_server(lambda: Server(answer, received), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        load = Load(port=port, requests=[REQUEST], connections=3, status=202, count=count, seconds=seconds)
        return received, await generate(load)


@pytest.mark.parametrize("answer", [[ANSWER], [ANSWER[:10], ANSWER[10:50], ANSWER[50:]], [ANSWER[:-1], ANSWER[-1:]]])
async def test_a_count_is_kept_however_the_answers_are_cut(answer: list[bytes]) -> None:
    received, result = await run(answer, count=20)
    assert received == [REQUEST] * 20
    assert (result.answers, result.answers_late) == (20, 0)
    assert 0 < result.p50_ms <= result.p99_ms <= result.seconds * 1000


async def test_time_ends_a_load_and_what_was_under_way_is_counted_apart() -> None:
    received, result = await run([ANSWER], seconds=0.05)
    assert result.answers + result.answers_late == len(received) > 0
    assert result.seconds == 0.05


async def test_another_status_fails_the_run_and_shows_the_answer() -> None:
    with pytest.raises(LoadError, match=r"expected status 202, got: HTTP/1.1 429 (.|\s)*slow down"):
        await run([b"HTTP/1.1 429 Too Many\r\ncontent-length: 9\r\n\r\nslow down"], count=5)


async def test_a_closed_connection_fails_the_run() -> None:
    with pytest.raises(LoadError, match="closed a connection"):
        await run([], count=2)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, percent) for percent in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 50) == 7.0
