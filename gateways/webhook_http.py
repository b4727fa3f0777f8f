"""Posts a webhook to an address that somebody else chose, and to nowhere he must not reach.

The name is resolved once for each attempt, every address it has is judged, and the connection goes to exactly one that
was judged; the certificate is checked for the name. Nothing is followed, kept or taken from the environment: no
redirect, no cookie, no proxy, no connection that another delivery could inherit.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

import h11
import httpx
import msgspec

from domain.model.delivery import Answer
from domain.model.webhook_url import Address, Network, is_allowed, url_fault
from gateways.names import UnknownNameError

# In all: name, connection, TLS, request and answer. A receiver writes the event down and answers; it works later.
SECONDS_MAX: Final = 5.0
# Of that for one address: a name with a dead one among its addresses still arrives.
CONNECT_SECONDS_MAX: Final = 2.0
ADDRESSES_MAX: Final = 3
# Ten times what any server sends, and nothing to whoever sends headers without end.
HEADER_BYTES_MAX: Final = 16 * 1024
# What is read of an answer, so that a polite receiver sees it taken; the rest is cut off with the connection.
BODY_BYTES_MAX: Final = 64 * 1024
# What is kept of it: enough to see an error message.
BODY_BYTES_KEPT: Final = 4 * 1024
INFORMATIONAL_MAX: Final = 8
RETRY_AFTER_DIGITS_MAX: Final = 9
USER_AGENT: Final = "Spell-Platform-Webhooks/1"

_READ_BYTES: Final = 16 * 1024
_PORTS: Final = {"https": 443, "http": 80}
Resolve = Callable[[str], Awaitable[Sequence[Address]]]


class RefusedTargetError(Exception):
    """The URL leads somewhere that webhooks do not go. The message says why, and nothing about our network."""


class _Target(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: int
    secure: bool
    host_header: str
    path: str
    addresses: Sequence[Address]


class _Read(msgspec.Struct, kw_only=True):
    """What has come of an answer so far."""

    status_code: int | None = None
    retry_after_s: int | None = None
    body: bytearray = msgspec.field(default_factory=bytearray)
    body_bytes: int = 0
    complete: bool = False


class WebhookClient:
    """Sends one request for each call, on a connection of its own."""

    def __init__(
        self,
        resolve: Resolve,
        *,
        private_allowed: tuple[Network, ...] = (),
        tls: ssl.SSLContext | None = None,
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        """`private_allowed` are networks that may be reached although they are not public, also without TLS."""
        self._resolve: Final = resolve
        self._private_allowed: Final = private_allowed
        self._tls: Final = tls or httpx.create_ssl_context(trust_env=False)
        self._seconds_max: Final = seconds_max

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body` and return what was answered; whatever goes wrong is an Answer that says so. Never raises."""
        read = _Read()
        error = None
        try:
            async with asyncio.timeout(self._seconds_max):
                await self._exchange(url, headers, body, read)
        except TimeoutError:
            error = f"no answer within {self._seconds_max:g} s"
        except (RefusedTargetError, UnknownNameError) as refusal:
            error = str(refusal)
        except ssl.SSLCertVerificationError as refusal:
            error = f"the certificate was not accepted: {refusal.verify_message}"
        except (OSError, ValueError, h11.RemoteProtocolError) as failure:
            error = _told(failure)
        # With the head of an answer the receiver has spoken; what became of the rest is of no concern.
        if read.status_code is not None:
            error = None
        return Answer(
            status_code=read.status_code, body=bytes(read.body), error=error, retry_after_s=read.retry_after_s
        )

    async def _exchange(self, url: str, headers: Mapping[str, str], body: bytes, read: _Read) -> None:
        target = await self._find(url)
        reader, writer = await self._connect(target)
        try:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_BYTES_MAX)
            writer.write(_request(connection, target, headers, body))
            await _receive(connection, reader, read)
        finally:
            writer.transport.abort()

    async def _find(self, url: str) -> _Target:
        fault = url_fault(url, private_allowed=self._private_allowed)
        if fault is not None:
            message = f"the URL is refused: {fault}"
            raise RefusedTargetError(message)
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
        port = parts.port or _PORTS[parts.scheme]
        shown = f"[{host}]" if ":" in host else host
        return _Target(
            host=host,
            port=port,
            secure=parts.scheme == "https",
            host_header=shown if port == _PORTS[parts.scheme] else f"{shown}:{port}",
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            addresses=self._judged(await self._addresses(host), secure=parts.scheme == "https"),
        )

    async def _addresses(self, host: str) -> Sequence[Address]:
        try:
            return [ip_address(host)]
        except ValueError:
            return await self._resolve(host)

    def _judged(self, addresses: Sequence[Address], *, secure: bool) -> Sequence[Address]:
        """Return the addresses when every one may be reached: a name with one bad address is meant to deceive."""
        if not addresses:
            message = "the host name has no address"
            raise RefusedTargetError(message)
        for address in addresses:
            if isinstance(address, IPv6Address) and address.scope_id is not None:
                message = "the host has an address that is meant for one link only"
                raise RefusedTargetError(message)
            if not is_allowed(address, self._private_allowed):
                message = "the host name leads to an address that is not one of the public internet"
                raise RefusedTargetError(message)
            if not secure and is_allowed(address, ()):
                message = "plain http is only for networks the operator allows; use https"
                raise RefusedTargetError(message)
        return addresses[:ADDRESSES_MAX]

    async def _connect(self, target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection to the first of the judged addresses that takes one."""
        *early, last = target.addresses
        for address in early:
            try:
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    return await self._open(target, address)
            except (TimeoutError, ConnectionError, OSError):
                continue
        return await self._open(target, last)

    async def _open(self, target: _Target, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            str(address),
            target.port,
            ssl=self._tls if target.secure else None,
            server_hostname=target.host if target.secure else None,
            limit=_READ_BYTES,
        )
        if ip_address(writer.get_extra_info("peername")[0]) != address:
            writer.transport.abort()
            message = "the connection did not go where it was meant to"
            raise RefusedTargetError(message)
        return reader, writer


def _request(connection: h11.Connection, target: _Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of the request; the transport holds them, so an answer that comes early is not missed."""
    whole = {
        "host": target.host_header,
        "user-agent": USER_AGENT,
        "accept": "*/*",
        "connection": "close",
        "content-length": str(len(body)),
        **headers,
    }
    head = connection.send(h11.Request(method="POST", target=target.path, headers=list(whole.items())))
    sent = connection.send(h11.Data(data=body))
    end = connection.send(h11.EndOfMessage())
    return b"".join(part for part in (head, sent, end) if part)


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader, read: _Read) -> None:
    """Read the answer into `read`, as far as anybody is interested in it."""
    informational = 0
    while read.body_bytes < BODY_BYTES_MAX:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.InformationalResponse):
            informational += 1
            if informational > INFORMATIONAL_MAX or event.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                message = "the receiver answered with something else than HTTP's final answer"
                raise h11.RemoteProtocolError(message)
        elif isinstance(event, h11.Response):
            read.status_code = event.status_code
            read.retry_after_s = _retry_after_s(dict(event.headers).get(b"retry-after"))
        elif isinstance(event, h11.Data):
            read.body_bytes += len(event.data)
            read.body += event.data[: BODY_BYTES_KEPT - len(read.body)]
        else:
            return


def _retry_after_s(value: bytes | None) -> int | None:
    """Return the seconds that `Retry-After` asks for, given as such or as a date."""
    text = (value or b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return int(text[:RETRY_AFTER_DIGITS_MAX])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0, int((date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()))


def _told(failure: Exception) -> str:
    """Return in a few words what broke, without our addresses."""
    if isinstance(failure, h11.RemoteProtocolError):
        return f"the answer is not HTTP: {failure}"
    if isinstance(failure, ssl.SSLError):
        return f"TLS failed: {failure.reason}"
    if isinstance(failure, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(failure, ConnectionError):
        return "the connection broke"
    if isinstance(failure, OSError) and failure.strerror:
        return f"the host cannot be reached: {failure.strerror}"
    return f"the request could not be made ({type(failure).__name__})"
