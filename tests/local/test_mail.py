"""The mail catcher: what was sent can be looked at, and can do nothing to who looks."""

import smtplib
from collections.abc import Generator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from local import mail as catching
from local.mail import MailCatcher


@pytest.fixture
def catcher(tmp_path: Path) -> Generator[MailCatcher]:
    made = MailCatcher(tmp_path / "mail")
    made.start()
    yield made
    made.stop()


def send(catcher: MailCatcher, subject: str, text: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", subject
    message.set_content(text)
    host, port = catcher.smtp_url.removeprefix("smtp://").split(":")
    with smtplib.SMTP(host, int(port), timeout=60) as client:
        client.send_message(message)


def get(catcher: MailCatcher, path: str = "/", **headers: str) -> httpx.Response:
    return httpx.get(catcher.url + path, headers=headers, timeout=60, trust_env=False)


def test_mail_is_shown_newest_first_and_as_it_came(catcher: MailCatcher) -> None:
    assert "Nothing yet" in get(catcher).text
    send(catcher, "older one", "Grüße")
    send(catcher, "newer one", "more")
    page = get(catcher).text
    assert page.index("newer one") < page.index("older one")
    assert "Grüße" in page
    link = page.split("href='")[1].split("'")[0]
    raw = get(catcher, link)
    assert "Subject: newer one" in raw.text
    assert raw.headers["content-type"].startswith("text/plain")


def test_a_mail_cannot_run_or_load_anything(catcher: MailCatcher) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>'\""
    send(catcher, evil, evil)
    answer = get(catcher)
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/raw/../../secret", "/raw/", "/raw/x", "/raw/%2e%2e/a", "/other"])
def test_nothing_but_mail_is_read(catcher: MailCatcher, path: str) -> None:
    assert get(catcher, path).status_code == 404


def test_a_page_elsewhere_cannot_read_it_by_another_name(catcher: MailCatcher) -> None:
    assert get(catcher, Host="evil.example.com").status_code == 421
    assert httpx.post(catcher.url, timeout=60, trust_env=False).status_code == 501


def test_the_newest_are_kept_and_survive_a_restart(
    catcher: MailCatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching, "MAILS_KEPT_MAX", 3)
    for number in range(5):
        send(catcher, f"number {number}", "text")
    urls = catcher.url, catcher.smtp_url
    catcher.stop()
    again = MailCatcher(tmp_path / "mail")
    again.start()
    try:
        page = get(again).text
        assert [f"number {number}" in page for number in range(5)] == [False, False, True, True, True]
        assert (again.url, again.smtp_url) == urls
    finally:
        again.stop()


def test_a_mail_that_is_none_is_shown_all_the_same(catcher: MailCatcher) -> None:
    catcher._outbox.keep(b"\xff\xfe no header\r\n\r\nContent-Type: text/plain; charset=nonsense\r\n")
    catcher._outbox.keep(b"Subject: odd\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff\xff")
    assert "odd" in get(catcher).text
