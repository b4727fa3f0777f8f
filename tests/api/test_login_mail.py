"""Sign in by a mailed link through the real api: what scanners, strangers and whoever is impatient get from it."""

import base64
import secrets
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from urllib.parse import quote

import httpx
import pytest

from local.servers import Servers
from tests.api.login_world import Browser, mailed_tokens, run_login_api
from tests.api.platform import Api, Rows


@pytest.fixture(scope="module")
def login_api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    del rows
    folder = tmp_path_factory.mktemp("login")
    with run_login_api(api_database_url, servers.redis_url, folder) as (api, _):
        yield api


@pytest.fixture
def browser(login_api: Api) -> Generator[Browser]:
    with Browser(login_api) as opened:
        yield opened


def an_address() -> str:
    return f"u{secrets.token_hex(6)}@example.com"


def ask(browser: Browser, email: str, **more: str) -> httpx.Response:
    return browser.http.post(f"{browser.api.url}/auth/magic-link", json={"email": email, **more})


def mailed(browser: Browser, rows: Rows, email: str, **more: str) -> str:
    """Ask for a link and return the token in the mail."""
    answer = ask(browser, email, **more)
    assert answer.status_code == 202, answer.text
    return mailed_tokens(rows, email)[-1]


def test_a_link_signs_in_the_browser_that_asked_for_it(browser: Browser, rows: Rows) -> None:
    email = an_address()
    sent = browser.submit("/auth/magic-link", {"email": email.upper(), "return_to": "/docs"})
    assert sent.status_code == 202
    assert email in sent.text
    token = mailed_tokens(rows, email)[0]
    shown = browser.get(f"/auth/verify?token={token}")
    assert (shown.status_code, browser.session) == (200, None)
    assert f'<input type="hidden" name="token" value="{token}"><button>Sign in</button>' in shown.text
    answer = browser.submit("/auth/verify", {"token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    me = browser.me()
    assert me["user"]["email"] == email
    assert email.partition("@")[0] not in me["handle"]  # a handle is public, an address is not


def test_the_same_address_again_is_the_same_person(browser: Browser, login_api: Api, rows: Rows) -> None:
    email = an_address()
    browser.submit("/auth/verify", {"token": mailed(browser, rows, email)})
    with Browser(login_api) as other:
        other.submit("/auth/verify", {"token": mailed(other, rows, email)})
        assert other.me()["user"]["id"] == browser.me()["user"]["id"]


def test_a_program_that_scans_mail_uses_nothing_up(browser: Browser, login_api: Api, rows: Rows) -> None:
    token = mailed(browser, rows, an_address())
    for _ in range(20):
        with Browser(login_api) as scanner:
            seen = scanner.get(f"/auth/verify?token={token}")
            assert (seen.status_code, scanner.session) == (400, None)
        assert browser.get(f"/auth/verify?token={token}").status_code == 200
    assert browser.submit("/auth/verify", {"token": token}).status_code == 303


def test_another_browser_is_told_why_and_gets_nothing(browser: Browser, login_api: Api, rows: Rows) -> None:
    """Whoever reads the mail, or was sent an attacker's own link, is not signed in by it."""
    token = mailed(browser, rows, an_address())
    with Browser(login_api) as other:
        mailed(other, rows, an_address())  # it has a binding of its own
        assert "Another browser" in other.get(f"/auth/verify?token={token}").text
        assert other.submit("/auth/verify", {"token": token}).status_code == 400
        assert other.session is None
    assert browser.submit("/auth/verify", {"token": token}).status_code == 303


def test_a_link_works_once_also_when_pressed_twice_at_once(browser: Browser, rows: Rows) -> None:
    token = mailed(browser, rows, an_address())
    barrier, cookies = Barrier(8), dict(browser.http.cookies)

    def press(_: int) -> int:
        barrier.wait(timeout=30)
        headers = {"origin": browser.api.url}
        url = f"{browser.api.url}/auth/verify"
        return httpx.post(url, data={"token": token}, headers=headers, cookies=cookies, timeout=30).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(press, range(8)))
    assert statuses == [303] + [400] * 7
    assert "over" in browser.get(f"/auth/verify?token={token}").text


def test_a_link_that_is_too_old_is_over(browser: Browser, rows: Rows) -> None:
    email = an_address()
    token = mailed(browser, rows, email)
    life = rows.execute("SELECT expires_at - created_at FROM magic_links WHERE email = %(email)s", {"email": email})
    assert life[0][0].total_seconds() == 900
    rows.execute(
        "UPDATE magic_links SET expires_at = now() - interval '1 second' WHERE email = %(email)s", {"email": email}
    )
    assert browser.get(f"/auth/verify?token={token}").status_code == 400
    assert browser.submit("/auth/verify", {"token": token}).status_code == 400


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "A" * 99, "é" * 43, "\0" * 43])
def test_what_is_no_link_of_ours_opens_nothing(browser: Browser, token: str) -> None:
    assert browser.get(f"/auth/verify?token={quote(token)}").status_code == 400
    assert browser.submit("/auth/verify", {"token": token}).status_code == 400
    assert browser.session is None


def test_the_answer_does_not_tell_whether_an_address_is_known(browser: Browser, login_api: Api, rows: Rows) -> None:
    """Known, unknown, asked for too often: the same status, the same words, the same headers."""
    known, unknown, often = an_address(), an_address(), an_address()
    browser.submit("/auth/verify", {"token": mailed(browser, rows, known)})
    for _ in range(4):
        with Browser(login_api) as other:
            ask(other, often)
    answers = []
    for email in (known, unknown, often):
        with Browser(login_api) as fresh:
            json, form = ask(fresh, email), fresh.submit("/auth/magic-link", {"email": email})
            names = [sorted(answer.headers) for answer in (json, form)]
            answers.append((json.status_code, json.text, form.status_code, form.text.replace(email, "-"), names))
    assert answers[0] == answers[1] == answers[2]


def test_an_address_gets_three_links_whoever_asks(login_api: Api, rows: Rows) -> None:
    email = an_address()
    barrier = Barrier(8)

    def ask_once(_: int) -> int:
        with Browser(login_api) as other:
            barrier.wait(timeout=30)
            return ask(other, email).status_code

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask_once, range(8))) == {202}
    assert len(mailed_tokens(rows, email)) == 3
    rows.execute(
        "UPDATE magic_links SET created_at = created_at - interval '16 minutes' WHERE email = %(email)s",
        {"email": email},
    )
    with Browser(login_api) as later:
        mailed(later, rows, email)
    assert len(mailed_tokens(rows, email)) == 4


def test_one_caller_cannot_mail_the_world(browser: Browser) -> None:
    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < 100:  # a place comes back each twelve seconds
        statuses.append(ask(browser, an_address()).status_code)
    assert statuses[:5] == [202] * 5
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    "email",
    [
        *(
            "",
            "ada",
            "ada@",
            "@example.com",
            "a b@example.com",
            "a@b@c",
            "a@example..com",
            "a\r\nbcc: x@y.z",
            "\0@x.yz",
        ),
        *("é@example.com", '"a b"@example.com', "a@[127.0.0.1]", ".a@example.com", "a..b@example.com"),
        "a" * 65 + "@x.yz",
    ],
)
def test_what_no_mail_can_be_sent_to_is_refused(browser: Browser, email: str) -> None:
    assert ask(browser, email).status_code == 422
    assert browser.submit("/auth/magic-link", {"email": email}).status_code == 422


def test_pages_elsewhere_can_neither_ask_nor_press_the_button(browser: Browser, rows: Rows) -> None:
    token = mailed(browser, rows, an_address())
    for path, fields in (("/auth/verify", {"token": token}), ("/auth/magic-link", {"email": an_address()})):
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {}):
            answer = browser.http.post(f"{browser.api.url}{path}", data=fields, headers=headers)
            assert answer.status_code == 403, (path, headers)
        plain = browser.http.post(
            f"{browser.api.url}{path}", content=f'{{"token": "{token}"}}', headers={"content-type": "text/plain"}
        )
        assert plain.status_code == 415
    assert browser.session is None


def test_a_program_gets_a_bearer_token_instead_of_a_cookie(browser: Browser, rows: Rows) -> None:
    email = an_address()
    token = mailed(browser, rows, email)
    answer = browser.http.post(f"{browser.api.url}/auth/verify", json={"token": token})
    assert (answer.status_code, browser.session) == (200, None)
    headers = {"authorization": f"Bearer {answer.json()['session_token']}"}
    assert httpx.get(f"{browser.api.url}/auth/me", headers=headers).json()["user"]["email"] == email
    again = browser.http.post(f"{browser.api.url}/auth/verify", json={"token": token})
    assert (again.status_code, again.json()["error"]) == (400, "expired_token")


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "/%2f%2fevil.example"])
def test_a_link_leads_to_paths_of_ours_alone(browser: Browser, rows: Rows, target: str) -> None:
    token = mailed(browser, rows, an_address(), return_to=target)
    assert browser.submit("/auth/verify", {"token": token}).headers["location"] == "/account"


def test_no_link_can_be_made_of_what_is_stored_or_logged(browser: Browser, rows: Rows) -> None:
    email = an_address()
    token = mailed(browser, rows, email)
    browser.get(f"/auth/verify?token={token}")
    browser.submit("/auth/verify", {"token": token})
    raw = base64.urlsafe_b64decode(token + "=")
    stored = "".join(
        str(rows.execute(query))
        for query in (
            "SELECT m::text FROM magic_links m",
            "SELECT o::text FROM outgoing o",
            "SELECT s::text FROM sessions s",
        )
    )
    logged = browser.api.log_path.read_text()
    for canary in (token, raw.hex(), browser.session or "no session"):
        assert canary not in stored
        assert canary not in logged
    assert email not in logged


def test_a_first_login_and_a_second_are_in_the_log(browser: Browser, login_api: Api, rows: Rows) -> None:
    email = an_address()
    browser.submit("/auth/verify", {"token": mailed(browser, rows, email)})
    with Browser(login_api) as other:
        other.submit("/auth/verify", {"token": mailed(other, rows, email)})
    entries = rows.execute(
        "SELECT action, actor_kind, address <> '', request_id <> '' FROM audit_log WHERE account_id = %(id)s"
        " ORDER BY at, action DESC",
        {"id": browser.me()["account_id"]},
    )
    begun = ("session.begin", "session", True, True)
    assert entries == [("user.create", "session", True, True), begun, begun]
    assert email not in repr(rows.execute("SELECT a::text FROM audit_log a"))
