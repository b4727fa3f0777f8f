"""The server: one port for the API under /v1 and the pages under /stripe/."""

import socket
import struct
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from local.ports import LOOPBACK
from local.stripe import faults
from local.stripe.answering import Answering, Call, Reply
from local.stripe.pages import Ask, Page, Pages

BODY_BYTES_MAX: Final = 1024 * 1024
# Closing with this the other side sees a reset instead of an orderly end.
_LINGER: Final = struct.pack("ii", 1, 0)
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class StripeServer(ThreadingHTTPServer):
    """Listens on this machine alone. A stopped one answers nobody, on old connections neither."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, answering: Answering, pages: Pages) -> None:
        """Listen on `port`. Raises OSError when it is taken."""
        self.answering: Final = answering
        self.pages: Final = pages
        self._lock: Final = threading.Lock()
        self._open: Final[set[socket.socket]] = set()
        super().__init__((LOOPBACK, port), _Request)

    def process_request(self, request: Any, client_address: Any) -> None:  # the library's types
        """Remember the connection, and serve it in a thread of its own."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # the library's type
        """Forget the connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # the library's types
        """Say nothing of callers that go away; a mistake of ours is shown, and its caller is cut off."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close_all(self) -> None:
        """Stop listening and end every connection."""
        self.answering.stopping.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._open:
                _shut(connection)


class _Request(BaseHTTPRequestHandler):
    server: StripeServer  # pyright: ignore[reportIncompatibleVariableOverride]  # made by that server alone
    server_version = "stripe"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    # One packet an answer, at once.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:  # the library's name
        self._serve("")

    def do_DELETE(self) -> None:  # the library's name
        self._serve(self._body())

    def do_POST(self) -> None:  # the library's name
        self._serve(self._body())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing: the terminal belongs to the platform."""

    def _body(self) -> str | None:
        size = self.headers.get("Content-Length", "0")
        if not size.isdecimal() or int(size) > BODY_BYTES_MAX:
            self.close_connection = True
            return None
        return self.rfile.read(int(size)).decode("utf-8", "replace")

    def _serve(self, body: str | None) -> None:
        address = urlsplit(self.path)
        if body is None:
            self._send(Page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"Too large\n", "text/plain"))
        elif not address.path.startswith("/v1/"):
            self._show(address.path, address.query, body)
        else:
            form = body if self.command == "POST" else "&".join(part for part in (address.query, body) if part)
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._reply(self.server.answering.answer(Call(self.command, address.path, headers, form)))

    def _reply(self, reply: Reply) -> None:
        if reply.fault is not None:
            self._say_nothing(reply.fault)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-cache, no-store")
        self.end_headers()
        self.wfile.write(reply.body)

    def _say_nothing(self, fault: faults.Fault) -> None:
        self.close_connection = True
        if fault.kind == faults.TIMEOUT:
            self.server.answering.stopping.wait(fault.seconds)
            return
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        # The library would say goodbye properly.
        self.connection.close()

    def _show(self, path: str, query: str, body: str) -> None:
        """Show a page, to a browser on this machine that asked for it here."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        origin = self.headers.get("Origin")
        ours = f"http://{self.headers.get('Host')}"
        if host not in {LOOPBACK, "localhost"}:
            # A page elsewhere whose name was pointed at this machine must not read this one.
            self._send(Page(HTTPStatus.MISDIRECTED_REQUEST, b"Ask for 127.0.0.1.\n", "text/plain"))
        elif self.command != "GET" and origin not in (None, ours):
            self._send(Page(HTTPStatus.FORBIDDEN, b"Another page may not press buttons here.\n", "text/plain"))
        else:
            show: Callable[[Ask], Page] = self.server.pages.show
            self._send(show(Ask(self.command, path, query, body)))

    def _send(self, page: Page) -> None:
        self.send_response(page.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if page.location is not None:
            self.send_header("Location", page.location)
        self.send_header("Content-Type", f"{page.kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        self.wfile.write(page.body)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it ended by itself
