"""Hands mail to an SMTP server. What happens then, queues and bounces, is that server's part."""

import asyncio
import ssl
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib
import httpx

from domain.model.delivery import Answer
from domain.model.events import Letter

# A server that greylists or scans may think for a while; what it does not take by then is tried again.
SECONDS_MAX: Final = 20.0
# A server of one's own takes mail in a stream; hundreds of connections at once look like an attack.
CONNECTIONS_MAX: Final = 8
REPLY_CHARACTERS_MAX: Final = 1_000
_PORTS: Final = {"smtp": 587, "smtps": 465}
_PERMANENT: Final = 500


class Mailer:
    """Sends one mail for each call. Credentials and mail travel encrypted, except to this machine."""

    def __init__(
        self,
        smtp_url: str,
        *,
        mail_from: str,
        tls: ssl.SSLContext | None = None,
        seconds_max: float = SECONDS_MAX,
    ) -> None:
        """`smtp_url` is checked already; `smtps` is TLS from the start, `smtp` changes to TLS before anything is said.

        `mail_from` is an address, alone or behind a name.
        """
        parts = urlsplit(smtp_url)
        self._host: Final = parts.hostname or "localhost"
        self._port: Final = parts.port or _PORTS[parts.scheme]
        self._user: Final = None if parts.username is None else unquote(parts.username)
        self._password: Final = None if parts.password is None else unquote(parts.password)
        self._tls_first: Final = parts.scheme == "smtps"
        # None: where the server, on this machine, offers it.
        self._start_tls: Final = False if self._tls_first else None if _is_here(self._host) else True
        self._tls: Final = tls or httpx.create_ssl_context(trust_env=False)
        name, address = parseaddr(mail_from)
        self._from: Final = Address(display_name=name, addr_spec=address)
        self._seconds_max: Final = seconds_max
        self._places: Final = asyncio.Semaphore(CONNECTIONS_MAX)

    async def send(self, to: str, letter: Letter, *, event_id: UUID) -> Answer:
        """Hand in one mail and return what the server said; its id is the same each time. Never raises."""
        try:
            message = self._message(to, letter, event_id)
        except (ValueError, IndexError, MessageError) as fault:
            return Answer(error=f"the mail cannot be written: {type(fault).__name__}", hopeless=True)
        try:
            async with asyncio.timeout(self._seconds_max), self._places:
                _, said = await self._hand_in(message)
        except aiosmtplib.SMTPRecipientsRefused as refusal:
            return _refused(refusal.recipients[0])
        except aiosmtplib.SMTPResponseException as refusal:
            return _refused(refusal)
        except TimeoutError:
            return Answer(error=f"the SMTP server did not take it within {self._seconds_max:g} s")
        except (aiosmtplib.SMTPException, OSError) as failure:
            return Answer(error=f"the SMTP server cannot be used: {_short(failure)}")
        return Answer(status_code=HTTPStatus.OK, body=said[:REPLY_CHARACTERS_MAX].encode("utf-8", "replace"))

    def _message(self, to: str, letter: Letter, event_id: UUID) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._from
        message["To"] = Address(addr_spec=to)
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = f"<{event_id.hex}@{self._from.domain}>"
        # No out-of-office answers to a program (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        return message

    async def _hand_in(self, message: EmailMessage) -> tuple[object, str]:
        return await aiosmtplib.send(
            message,
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            use_tls=self._tls_first,
            start_tls=self._start_tls,
            tls_context=self._tls,
            timeout=self._seconds_max,
        )


def _refused(refusal: aiosmtplib.SMTPResponseException) -> Answer:
    """Return what a server's refusal means.

    5xx is for good (RFC 5321) where it is said of this mail; a refused password or sender is the operator's to mend,
    and then this mail still goes.
    """
    of_this_mail = isinstance(refusal, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError)
    return Answer(
        status_code=refusal.code,
        error=f"the SMTP server refused it: {refusal.code} {_short(refusal)}",
        hopeless=of_this_mail and refusal.code >= _PERMANENT,
    )


def _short(failure: Exception) -> str:
    text = failure.message if isinstance(failure, aiosmtplib.SMTPException) else str(failure)
    return (text or type(failure).__name__)[:REPLY_CHARACTERS_MAX]


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
