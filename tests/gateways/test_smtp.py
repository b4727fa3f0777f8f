"""Mail handed to a real SMTP server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from domain.model.events import Letter
from gateways.smtp import Mailer
from tests.gateways.certificates import Authority

EVENT = UUID(int=7)
LETTER = Letter(subject="Budget at 80 %: $8.00 of $10.00 — Überblick", text="Grüße\n.\nline after a lone dot\n")
FROM = "Spells <no-reply@spell.example.com>"
USER, PASSWORD = b"spell", b"a p@ss:word/"


class Postbox:
    """An SMTP server's handler: keeps what comes, and answers as told."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.recipient_answer = "250 OK"
        self.data_answer = "250 OK: queued"

    async def handle_RCPT(  # noqa: N802  # the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.recipient_answer

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # the library's name
        self.mails.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return self.data_answer


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@asynccontextmanager
async def serving(postbox: Postbox, **options: object) -> AsyncGenerator[int]:
    """Yield the port of a server in this loop."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(postbox, loop=loop, **options), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
async def port(postbox: Postbox) -> AsyncGenerator[int]:
    async with serving(postbox) as listening:
        yield listening


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def authenticate(
    _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (USER, PASSWORD), handled=False)


async def test_a_mail_arrives_as_it_was_written(port: int, postbox: Postbox) -> None:
    mailer = Mailer(f"smtp://127.0.0.1:{port}", mail_from=FROM)
    answers = [await mailer.send("ada@example.com", LETTER, event_id=EVENT) for _ in range(2)]
    assert all(answer.delivered for answer in answers)
    first, second = (message_from_bytes(mail.content, policy=policy.default) for mail in postbox.mails)
    assert (first["From"], first["To"], first["Subject"]) == (FROM, "ada@example.com", LETTER.subject)
    assert first.get_content().replace("\r\n", "\n") == LETTER.text
    assert first["Message-ID"] == second["Message-ID"] == f"<{EVENT.hex}@spell.example.com>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert postbox.mails[0].rcpt_tos == ["ada@example.com"]


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("ada@example.com\r\nBcc: eve@example.com", "Hello"),
        ("ada@example.com, eve@example.com", "Hello"),
        ("", "Hello"),
        ("ada@example.com", "Hello\r\nBcc: eve@example.com"),
    ],
)
async def test_nobody_slips_in_a_header_or_a_recipient(port: int, postbox: Postbox, to: str, subject: str) -> None:
    mailer = Mailer(f"smtp://127.0.0.1:{port}", mail_from=FROM)
    answer = await mailer.send(to, Letter(subject=subject, text="text"), event_id=EVENT)
    assert (answer.delivered, answer.hopeless) == (False, True)
    assert postbox.mails == []


@pytest.mark.parametrize(
    ("recipient", "data", "hopeless"),
    [
        ("550 5.1.1 no such mailbox", "250 OK", True),
        ("451 4.2.1 greylisted", "250 OK", False),
        ("250 OK", "554 5.7.1 spam", True),
        ("250 OK", "452 4.3.1 disk full", False),
    ],
)
async def test_what_a_server_refuses_for_good_is_hopeless_and_what_for_now_is_not(
    port: int, postbox: Postbox, recipient: str, data: str, *, hopeless: bool
) -> None:
    postbox.recipient_answer, postbox.data_answer = recipient, data
    mailer = Mailer(f"smtp://127.0.0.1:{port}", mail_from=FROM)
    answer = await mailer.send("ada@example.com", LETTER, event_id=EVENT)
    said = next(text for text in (recipient, data) if not text.startswith("250"))
    assert (answer.delivered, answer.hopeless, answer.status_code) == (False, hopeless, int(said[:3]))
    assert said[4:] in (answer.error or "")


async def mumbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An SMTP server whose last words are in no charset."""
    writer.write(b"220 here\r\n")
    while not (line := await reader.readline()).startswith(b"DATA"):
        writer.write(b"250 OK\r\n" if line else b"")
    writer.write(b"354 go on\r\n")
    await reader.readuntil(b"\r\n.\r\n")
    writer.write(b"250 \xff\xfe\r\n")
    await reader.readline()
    writer.write(b"221 bye\r\n")
    writer.close()


async def test_a_server_that_speaks_no_text_is_understood_all_the_same() -> None:
    server = await asyncio.start_server(mumbling, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        mailer = Mailer(f"smtp://127.0.0.1:{port}", mail_from=FROM)
        answer = await mailer.send("ada@example.com", LETTER, event_id=EVENT)
    finally:
        server.close()
    assert answer.delivered, answer.error
    assert answer.body == b"??"


async def test_a_server_that_is_away_is_tried_again() -> None:
    answer = await Mailer("smtp://127.0.0.1:1", mail_from=FROM).send("ada@example.com", LETTER, event_id=EVENT)
    assert (answer.delivered, answer.hopeless) == (False, False)
    assert "cannot be used" in (answer.error or "")


async def test_name_and_password_travel_after_starttls(postbox: Postbox, authority: Authority) -> None:
    login = "spell:a%20p%40ss%3Aword%2F"
    tls = {"tls_context": authority.server("localhost"), "require_starttls": True}
    async with serving(postbox, **tls, auth_required=True, authenticator=authenticate) as port:
        good = Mailer(f"smtp://{login}@localhost:{port}", mail_from=FROM, tls=authority.client)
        assert (await good.send("ada@example.com", LETTER, event_id=EVENT)).delivered
        assert postbox.encrypted == [True]
        bad = Mailer(f"smtp://spell:guess@localhost:{port}", mail_from=FROM, tls=authority.client)
        refused = await bad.send("ada@example.com", LETTER, event_id=EVENT)
        assert (refused.status_code, refused.hopeless) == (535, False)
        stranger = Mailer(f"smtp://{login}@localhost:{port}", mail_from=FROM)
        assert not (await stranger.send("ada@example.com", LETTER, event_id=EVENT)).delivered
    assert len(postbox.mails) == 1


def test_a_server_elsewhere_must_change_to_tls_and_one_here_may() -> None:
    elsewhere, here = (Mailer(f"smtp://{host}", mail_from=FROM) for host in ("mail.example.com", "localhost"))
    assert (elsewhere._start_tls, here._start_tls) == (True, None)
    assert Mailer("smtps://mail.example.com", mail_from=FROM)._tls_first
