"""Receivers of webhooks, good and bad, on real sockets: what each does with a request is named by its path."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import h11
import msgspec

CHUNK = b"x" * 65_536
GIBIBYTE = 1 << 30
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Received(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """`received` has every request that came whole, in order."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[Received] = []
        self.connections = 0
        self.sent_bytes = 0
        """Of an answer without end."""
        self.changed = asyncio.Condition()
        self.released = asyncio.Event()
        """Set: `/hold` answers."""
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [one.path for one in self.received]

    async def wait_for(self, count: int, path: str | None = None) -> list[Received]:
        """Return the requests (to `path`) once there are `count`."""

        def found() -> list[Received]:
            return [one for one in self.received if path in {None, one.path}]

        async with asyncio.timeout(300), self.changed:
            await self.changed.wait_for(lambda: len(found()) >= count)
        return found()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            request = await _read(reader)
            async with self.changed:
                self.received.append(request)
                self.changed.notify_all()
            await BEHAVIOURS.get(request.path.partition("?")[0].split("/")[1], _answer_200)(self, (reader, writer))
        except (ConnectionError, asyncio.CancelledError, EOFError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def receiving(
    host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, host, port, ssl=tls, backlog=2048)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()


async def _read(reader: asyncio.StreamReader) -> Received:
    connection = h11.Connection(h11.SERVER)
    request: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65_536)
            if not data and request is None:
                raise EOFError
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            assert request is not None
            headers = {name.decode(): value.decode() for name, value in request.headers}
            return Received(path=request.target.decode(), headers=headers, body=body)


def _answer(status: str, *headers: str, body: bytes = b"done") -> Callable[[Receiver, Peer], Awaitable[None]]:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]

    async def answer(_receiver: Receiver, peer: Peer) -> None:
        peer[1].write("\r\n".join(lines).encode() + body)
        await peer[1].drain()
        # Closed by us only after the other side has read it: an abort would take the bytes along.
        await peer[0].read()

    return answer


_answer_200 = _answer("200 OK")


async def _hang(_receiver: Receiver, peer: Peer) -> None:
    await peer[0].read()


async def _hold(receiver: Receiver, peer: Peer) -> None:
    await receiver.released.wait()
    await _answer_200(receiver, peer)


async def _reset(_receiver: Receiver, _peer: Peer) -> None:
    return


async def _without_end(receiver: Receiver, peer: Peer) -> None:
    peer[1].write(f"HTTP/1.1 200 OK\r\nContent-Length: {GIBIBYTE}\r\n\r\n".encode())
    while receiver.sent_bytes < GIBIBYTE:
        peer[1].write(CHUNK)
        await peer[1].drain()
        receiver.sent_bytes += len(CHUNK)


async def _headers_without_end(receiver: Receiver, peer: Peer) -> None:
    peer[1].write(b"HTTP/1.1 200 OK\r\n")
    while receiver.sent_bytes < GIBIBYTE:
        peer[1].write(b"X-More: " + b"y" * 1_000 + b"\r\n")
        await peer[1].drain()
        receiver.sent_bytes += 1_010


async def _drip(_receiver: Receiver, peer: Peer) -> None:
    """Slow loris: a header that never ends, a byte at a time."""
    peer[1].write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not peer[0].at_eof():
        peer[1].write(b"z")
        await peer[1].drain()
        await asyncio.sleep(0.02)


async def _drip_body(_receiver: Receiver, peer: Peer) -> None:
    peer[1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun")
    await peer[0].read()


async def _informational(_receiver: Receiver, peer: Peer) -> None:
    while not peer[0].at_eof():
        peer[1].write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await peer[1].drain()


async def _gibberish(_receiver: Receiver, peer: Peer) -> None:
    peer[1].write(b"220 mail.example.com ESMTP\r\n\r\n")
    await peer[0].read()


BEHAVIOURS: dict[str, Callable[[Receiver, Peer], Awaitable[None]]] = {
    "fail": _answer("500 Oh", body=b"broken \x00\xff" + b"e" * 10_000),
    "gone": _answer("410 Gone"),
    "busy": _answer("503 Busy", "Retry-After: 7200"),
    "limited": _answer("429 Slow", "Retry-After: Fri, 01 Jan 2100 00:00:00 GMT"),
    "redirect": _answer("302 Found", "Location: http://169.254.169.254/latest/meta-data/"),
    "moved": _answer("308 Moved", "Location: /ok"),
    "cookie": _answer("200 OK", "Set-Cookie: session=1; Path=/"),
    "switch": _answer("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", body=b""),
    "hang": _hang,
    "hold": _hold,
    "reset": _reset,
    "gibibyte": _without_end,
    "headers": _headers_without_end,
    "drip": _drip,
    "dripbody": _drip_body,
    "informational": _informational,
    "gibberish": _gibberish,
}
