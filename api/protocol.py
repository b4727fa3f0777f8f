"""Uvicorn's HTTP protocol, with answers in one system call and requests that must come to an end.

Uvicorn writes the head and the body of an answer one after the other, and on a small answer the second call costs more
than all it carries; it looks at each header with two regular expressions; it sets a timer behind each answer. All that
is a tenth of what an accepted cast costs. And it waits for the rest of a request for ever, however long its head grows:
a few thousand connections that send a byte now and then would hold all a process has.
"""

import asyncio
import math
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from httptools import parse_url
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

# Longer than the idle time of the balancers in front, so that they close first and never send into a closing socket.
KEEP_ALIVE_S: Final = 75
# From its first byte; the slowest link sends a head of this platform within a second.
HEAD_S: Final = 15
# From the end of the head: the largest module at a megabit a second.
BODY_S: Final = 150
# Cookies, a trace, a key: a few hundred bytes; proxies allow 8 to 32 KiB. Checked as it comes in, in pieces of up to
# 256 KiB, so that a head may be that long when it comes at once.
HEAD_BYTES_MAX: Final = 65_536
_TOO_LONG: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
# Addresses without a query, which may carry a secret. Most requests go to a dozen of them.
ADDRESSES_REMEMBERED_MAX: Final = 256
# Without headers of the application, one of which may be a secret: a status and the hour.
HEADS_REMEMBERED_MAX: Final = 16

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
WHOLE_ANSWER: Final = "spell.whole_answer"
"""Name of what this server takes beyond ASGI in `http.response.start`: `body`, the whole of it, so that no other
message comes and its length may be left out; and `lines`, headers as they are sent, each behind the end of the line
before it. Nobody looks through these: they are fixed texts and what we make ourselves, numbers and ids."""
_EXTENSIONS: Final[dict[str, dict[str, object]]] = {WHOLE_ANSWER: {}}
_END: Final = b"\r\n"
_STATUS_LINES: Final = {status: line.removesuffix(_END) for status, line in STATUS_LINE.items()}
_header: Final = b": ".join
# What no header may hold: whoever could put the end of a line into one would write headers of his own.
_CONTROL: Final = bytes({*range(0x20), 0x7F} - {ord("\t")})
_NO_BODY: Final = frozenset({204, 304})


class Cycle(RequestResponseCycle):
    """One request and its answer. The head of an answer whose length is known leaves with the first of its body."""

    # Most requests never change these; the base class would set each of them for each request.
    _head: bytes = b""
    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = False
    expected_content_length = 0

    def __init__(self, protocol: "LeanProtocol", scope: Any, *, keep_alive: bool) -> None:
        # Not the base class's own, which takes twelve arguments.
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.logger = protocol.logger
        self.default_headers = protocol.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = protocol.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body = bytearray()

    async def send(self, message: Any) -> None:  # uvicorn spells the ASGI types out
        """Take an ASGI message. RuntimeError for one that must not come now, or an answer that would not be HTTP."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started and kind == "http.response.start":
            whole = message.get("body")
            self._start(message["status"], message.get("headers", ()), message.get("lines", b""), whole)
            if whole is not None:
                self._continue(whole, more=False)
        elif self.response_started and not self.response_complete and kind == "http.response.body":
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            text = f"An ASGI message '{kind}' came when the answer was not waiting for one."
            raise RuntimeError(text)

    def _start(self, status: int, headers: Collection[tuple[bytes, bytes]], ready: bytes, whole: bytes | None) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        text_of = _text_of if headers else _remembered_text_of
        text = text_of(status, (*self.default_headers, *headers)) + ready
        known = dict(headers)
        length = known.get(b"content-length")
        if length is not None:
            self.expected_content_length = int(length)
        elif whole is not None:
            self.expected_content_length = len(whole)
            text += b"\r\ncontent-length: %d" % len(whole)
        elif self.scope["method"] != "HEAD" and status not in _NO_BODY:
            self.chunked_encoding = True
            text += b"\r\ntransfer-encoding: chunked"
        if b"close" in known.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            text += b"\r\nconnection: close"
        self._head = text + b"\r\n\r\n"
        if self.chunked_encoding:
            # Its first piece may be long in coming.
            self._write(b"")

    def _continue(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
        if self.expected_content_length < 0:
            text = "The body of the answer is longer than its content-length says."
            raise RuntimeError(text)
        self._write(body)
        if more:
            return
        if self.expected_content_length:
            text = "The body of the answer is shorter than its content-length says."
            raise RuntimeError(text)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _write(self, body: bytes) -> None:
        head, self._head = self._head, b""
        if head and body:
            self.transport.writelines((head, body))
        elif head or body:
            self.transport.write(head or body)


class LeanProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`. `close_overdue` must be called now and then."""

    # Uvicorn spells out ASGI's types, each a little differently.
    app: Any
    cycle: Any
    parser: Any
    scope: Any
    overdue_at: float = math.inf
    """When the other side must have sent something, by the loop's clock; never while it need not."""
    _head_bytes: int = 0
    _head_complete: bool = True

    def connection_made(self, transport: Any) -> None:  # uvicorn narrows asyncio's type
        """Begin a connection."""
        super().connection_made(transport)
        self.overdue_at = self.loop.time() + self.timeout_keep_alive

    def data_received(self, data: bytes) -> None:
        """Take what came; too much of it without an end of the head ends the connection."""
        super().data_received(data)
        if not self._head_complete:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.write(_TOO_LONG)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._head_bytes, self._head_complete = 0, False
        self.overdue_at = self.loop.time() + HEAD_S

    def on_headers_complete(self) -> None:
        """Start to serve a request whose head is there, or put it behind the one that is being served."""
        self._head_complete = True
        self.overdue_at = self.loop.time() + BODY_S
        parser = self.parser
        http_version = parser.get_http_version()
        path, raw_path, query = _address(self.url) if b"?" in self.url else _remembered_address(self.url)
        self.scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": http_version,
            "method": parser.get_method().decode("ascii"),
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": _EXTENSIONS,
        }
        serving = self.cycle
        self.cycle = Cycle(self, self.scope, keep_alive=http_version != "1.0" and parser.should_keep_alive())
        if serving is None or serving.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_message_complete(self) -> None:
        """Note that all of a request is there: now it is us the other side waits for, unless it was answered early."""
        super().on_message_complete()
        self.overdue_at = self.loop.time() + self.timeout_keep_alive if self.cycle.response_complete else math.inf

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.overdue_at == math.inf:
            self.overdue_at = self.loop.time() + self.timeout_keep_alive


def _text_of(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    lines = [_STATUS_LINES[status], *map(_header, headers)]
    text = _END.join(lines)
    if len(text.translate(None, _CONTROL)) != len(text) - len(_END) * (len(lines) - 1):
        message = "A header of the answer has a control character in it."
        raise RuntimeError(message)
    return text


_remembered_text_of: Final = lru_cache(HEADS_REMEMBERED_MAX)(_text_of)


def _address(url: bytes) -> tuple[str, bytes, bytes]:
    """Return the path as text and as it came, and the query. Raises HttpParserInvalidURLError."""
    parsed = parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


_remembered_address: Final = lru_cache(ADDRESSES_REMEMBERED_MAX)(_address)


def close_overdue(connections: Collection[Any], now: float) -> int:
    """Close the connections whose other side keeps us waiting; return how many were overdue.

    Where we have stopped reading it is us the other side waits for: it gets its time anew.
    """
    overdue = [connection for connection in connections if isinstance(connection, LeanProtocol)]
    overdue = [connection for connection in overdue if connection.overdue_at < now]
    for connection in overdue:
        if connection.flow.read_paused:
            connection.overdue_at = now + BODY_S
        else:
            connection.transport.close()
    return len(overdue)
