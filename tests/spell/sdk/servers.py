"""Servers that misbehave on demand: one that answers as scripted, one in front of the platform that cuts."""

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

# Closing with this sends RST instead of FIN: what a killed process or a firewall does.
LINGER_RESET = struct.pack("ii", 1, 0)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Act = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int, body: Any = None, **headers: str) -> Act:
    """Answer with `body` as JSON, or with its bytes; `retry_after="2"` is the header Retry-After."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return act


def refusal(status: int, code: str, **members: Any) -> Act:
    headers = {"retry_after": str(members.pop("retry_after"))} if "retry_after" in members else {}
    body = {"status": status, "error": code, "title": "t", "detail": "why", "request_id": "r-1", **members}
    return answer(status, body, content_type="application/problem+json", **headers)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Take the request and break the connection."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    handler.connection.close()
    handler.close_connection = True


class Scripted:
    """Answers request after request as it was told, and keeps what was asked."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.script: deque[Act] = deque()
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def will(self, *acts: Act) -> None:
        self.script.extend(acts)

    def silent(self, handler: BaseHTTPRequestHandler) -> None:
        """Say nothing until the test is over."""
        self.released.wait(60)
        reset(handler)

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(ConnectionError, ValueError):  # the test's client left, or an act closed the socket
                    super().handle_one_request()

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                scripted.seen.append(Seen(method=self.command, path=self.path, headers=headers, body=body))
                scripted.script.popleft()(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815  # the names http.server looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # overrides
                del format, args

        return Handler


class CuttingProxy:
    """Passes bytes on to `target`, and cuts the answers of each new connection where `cuts` says.

    A cut is a text: what comes up to its end is passed on, the rest is lost. An empty one loses all of the answer,
    once the server began to give it. None, or no cut left, passes everything on.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.cuts: deque[bytes | None] = deque()
        self.cuts_made = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            cut = self.cuts.popleft() if self.cuts else None
            self._start(self._pass_on, client, server, None)
            self._start(self._pass_on, server, client, cut)

    def _pass_on(self, source: socket.socket, sink: socket.socket, cut: bytes | None) -> None:
        passed = b""
        with suppress(OSError):  # either side is gone, so is the connection
            while chunk := source.recv(65536):
                if cut is not None and cut in (whole := passed + chunk):
                    sink.sendall(whole[len(passed) : whole.index(cut) + len(cut)])
                    self.cuts_made += 1
                    break
                passed += chunk
                sink.sendall(chunk)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def closing(server: Any) -> Generator[Any]:
    try:
        yield server
    finally:
        server.close()
