"""Catches the platform's mail: an SMTP server that delivers nothing, and a page that shows what it was given."""

import asyncio
import html
import re
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from aiosmtpd.smtp import SMTP, Envelope, Session

from local.folder import LocalServerError, make_private_folder
from local.ports import LOOPBACK, kept_port

SMTP_PORT_FILE: Final = "smtp-port"
MAILS_KEPT_MAX: Final = 500
MAIL_BYTES_MAX: Final = 1024 * 1024
TEXT_SHOWN_MAX: Final = 20_000
_STOP_SECONDS_MAX: Final = 10.0
_NAME: Final = re.compile(r"[0-9]{20}-[0-9a-f]{8}")
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "article{border-top:1px solid #8888;padding:.5rem 0}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
)
# Mail is written by strangers: nothing in it runs or loads, and no other page may frame or read it.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class MailCatcher:
    """The SMTP server and the page, on this machine alone, for as long as it is started."""

    def __init__(self, folder: Path) -> None:
        """`folder` keeps the mail and both ports; it is made when missing. Raises LocalServerError."""
        make_private_folder(folder)
        self._outbox: Final = Outbox(folder / "outbox")
        self._smtp_port: Final = kept_port(folder / SMTP_PORT_FILE)
        self._page_port: Final = kept_port(folder / "page-port")
        self._running: _Running | None = None

    @property
    def smtp_url(self) -> str:
        """Where mail is handed in, as SMTP_URL."""
        return f"smtp://{LOOPBACK}:{self._smtp_port}"

    @property
    def url(self) -> str:
        """Where mail is looked at."""
        return f"http://{LOOPBACK}:{self._page_port}"

    def start(self) -> None:
        """Listen. Raises LocalServerError."""
        assert self._running is None, "the mail catcher is running already"
        try:
            listener = socket.create_server((LOOPBACK, self._smtp_port))
            page = _Page(self._outbox, self._page_port)
        except OSError as error:
            message = f"The mail catcher cannot listen ({error.strerror}): stop what took its port, then start again."
            raise LocalServerError(message) from error
        self._running = _Running(_SmtpThread(self._outbox, listener), page)

    def stop(self) -> None:
        """Stop listening; what was caught stays. Does nothing when it is not started."""
        if self._running is not None:
            self._running.stop()
            self._running = None


class _Running:
    """Both servers, each in a thread of its own."""

    def __init__(self, smtp: "_SmtpThread", page: "_Page") -> None:
        self._smtp: Final = smtp
        self._page: Final = page
        self._page_thread: Final = threading.Thread(target=page.serve_forever, name="mail page", daemon=True)
        self._smtp.start()
        self._page_thread.start()

    def stop(self) -> None:
        self._smtp.stop()
        self._page.shutdown()
        self._page.server_close()
        self._page_thread.join(_STOP_SECONDS_MAX)


class _SmtpThread(threading.Thread):
    """An event loop for the SMTP server. The library's own controller gives itself a second to come up."""

    def __init__(self, outbox: "Outbox", listener: socket.socket) -> None:
        super().__init__(name="mail smtp", daemon=True)
        self._outbox: Final = outbox
        self._listener: Final = listener
        self._loop: Final = asyncio.new_event_loop()
        self._ended: Final = asyncio.Event()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join(_STOP_SECONDS_MAX)

    async def _serve(self) -> None:
        server = await asyncio.get_running_loop().create_server(self._session, sock=self._listener)
        await self._ended.wait()
        server.close()

    def _session(self) -> SMTP:
        return SMTP(self._outbox, data_size_limit=MAIL_BYTES_MAX, enable_SMTPUTF8=True, loop=self._loop)


class Outbox:
    """The folder of caught mail. Names sort by the time of arrival."""

    def __init__(self, folder: Path) -> None:
        make_private_folder(folder)
        self._folder: Final = folder

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # the library's name
        """Keep a mail and answer the SMTP client."""
        self.keep(envelope.content if isinstance(envelope.content, bytes) else b"")
        return "250 2.0.0 caught; it goes nowhere"

    def keep(self, mail: bytes) -> None:
        """Write one mail down, and forget the oldest where there are too many."""
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        fresh = self._folder / f"{name}.fresh"
        fresh.write_bytes(mail)
        fresh.replace(self._folder / f"{name}.eml")
        for old in self.names()[MAILS_KEPT_MAX:]:
            (self._folder / f"{old}.eml").unlink(missing_ok=True)

    def names(self) -> Sequence[str]:
        """Return the name of each mail, newest first."""
        return sorted((file.stem for file in self._folder.glob("*.eml")), reverse=True)

    def raw(self, name: str) -> bytes | None:
        """Return a mail as it came, or None where there is no such."""
        if _NAME.fullmatch(name) is None:
            return None
        try:
            return (self._folder / f"{name}.eml").read_bytes()
        except FileNotFoundError:
            return None


class _Page(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, outbox: Outbox, port: int) -> None:
        self.outbox: Final = outbox
        super().__init__((LOOPBACK, port), _Request)


class _Request(BaseHTTPRequestHandler):
    server: _Page  # pyright: ignore[reportIncompatibleVariableOverride]  # made by that server alone
    server_version = "mail"
    sys_version = ""

    def do_GET(self) -> None:  # the library's name
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in {LOOPBACK, "localhost"}:
            # A page elsewhere whose name was pointed at this machine must not read the mail.
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"Ask for 127.0.0.1.\n")
        elif self.path == "/":
            self._send(HTTPStatus.OK, "text/html", _list(self.server.outbox).encode())
        else:
            mail = self.server.outbox.raw(self.path.removeprefix("/raw/"))
            if mail is None:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is no such mail.\n")
            else:
                self._send(HTTPStatus.OK, "text/plain", mail)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing: the terminal belongs to the platform."""

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _list(outbox: Outbox) -> str:
    mails = "".join(_shown(name, mail) for name in outbox.names() if (mail := outbox.raw(name)) is not None)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Mail</title><style>{_STYLE}</style><h1>Mail</h1>"
        f"<p>What the platform sent, newest first. It was caught here and went nowhere.</p>"
        f"{mails or '<p>Nothing yet.</p>'}"
    )


def _shown(name: str, mail: bytes) -> str:
    message = BytesParser(EmailMessage, policy=policy.default).parsebytes(mail)
    subject, to, date = (html.escape(str(message.get(header, ""))) for header in ("Subject", "To", "Date"))
    return (
        f"<article><h2>{subject or 'no subject'}</h2><p>To {to}, {date}, <a href='/raw/{name}'>as it came</a></p>"
        f"<pre>{html.escape(_text(message)[:TEXT_SHOWN_MAX])}</pre></article>"
    )


def _text(message: EmailMessage) -> str:
    """Return the plain text of a mail, whatever is wrong with it."""
    part = message.get_body(preferencelist=("plain",))
    if part is None:
        return ""
    try:
        return str(part.get_content())
    except (LookupError, ValueError):  # a charset nobody knows, or bytes that are none of it
        return "This text cannot be read; look at the mail as it came."
