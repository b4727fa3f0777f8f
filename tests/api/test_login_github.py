"""Sign in with GitHub through the real api and a strict stand-in: once, in one browser, in time, and nowhere else."""

import secrets
from collections.abc import Generator
from urllib.parse import quote

import httpx
import pytest

from local.github import FakeGithub, GithubAddress, GithubUser
from local.servers import Servers
from tests.api.login_world import Browser, query_of, run_login_api
from tests.api.platform import Api, Rows

Login = tuple[Api, FakeGithub]


@pytest.fixture(scope="module")
def login(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Login]:
    del rows
    folder = tmp_path_factory.mktemp("login")
    with run_login_api(api_database_url, servers.redis_url, folder) as running:
        yield running


@pytest.fixture
def browser(login: Login) -> Generator[Browser]:
    with Browser(login[0]) as opened:
        yield opened


def somebody(login: Login, *, verified: bool = True, email: str | None = None, number: int | None = None) -> str:
    """Give GitHub another user and return the name."""
    name = f"u{secrets.token_hex(4)}"
    address = GithubAddress(email or f"{name}@example.com", primary=True, verified=verified)
    login[1].users[name] = GithubUser(number or secrets.randbelow(10**9), name, None, [address])
    return name


def test_the_first_login_makes_an_account_and_the_next_finds_it(login: Login, browser: Browser) -> None:
    name = somebody(login)
    answer = browser.sign_in(name)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    me = browser.me()
    assert (me["handle"], me["user"]["email"]) == (name, f"{name}@example.com")
    assert f"Signed in as <strong>{name}</strong>" in browser.get("/account").text
    with Browser(login[0]) as other:
        other.sign_in(name)
        assert other.me()["user"]["id"] == me["user"]["id"]


def test_a_login_leaves_no_session_of_before_alive(login: Login, browser: Browser) -> None:
    """Fixation: whoever slipped the browser a session of his own loses it, and the new one is another."""
    browser.sign_in(somebody(login))
    before = browser.session
    assert before is not None
    browser.sign_in(somebody(login))
    assert browser.session not in {None, before}
    old = httpx.delete(f"{login[0].url}/v1/sessions", headers={"authorization": f"Bearer {before}"})
    assert old.status_code == 401


def test_a_user_renamed_at_github_is_the_same_person(login: Login, browser: Browser) -> None:
    first = somebody(login, number=77_000_001)
    browser.sign_in(first)
    user = browser.me()["user"]["id"]
    renamed = somebody(login, number=77_000_001)
    browser.sign_in(renamed)
    assert browser.me()["user"]["id"] == user
    assert browser.me()["handle"] == first


def test_a_handle_that_is_taken_or_ours_gets_a_tail(login: Login, browser: Browser, rows: Rows) -> None:
    taken = rows.account().handle
    for name in (taken, "admin", "Support"):
        login[1].users[name] = GithubUser(secrets.randbelow(10**9), name, None, [])
        browser.sign_in(name)
        handle = browser.me()["handle"]
        assert handle.startswith(f"{name.lower()}-")
        assert browser.me()["user"]["email"] is None


def test_an_address_nobody_verified_opens_nobodys_account(login: Login, browser: Browser) -> None:
    victim = somebody(login)
    browser.sign_in(victim)
    user = browser.me()["user"]["id"]
    with Browser(login[0]) as other:
        other.sign_in(somebody(login, verified=False, email=f"{victim}@example.com"))
        assert other.me()["user"]["id"] != user
        assert other.me()["user"]["email"] is None
        # Verified at GitHub it is the same person's second account there.
        other.sign_in(somebody(login, email=f"{victim.upper()}@example.com"))
        assert other.me()["user"]["id"] == user


@pytest.mark.parametrize("fault", ["missing", "wrong", "empty", "twice", "unknown"])
def test_a_state_that_is_not_that_of_this_login_signs_nobody_in(login: Login, browser: Browser, fault: str) -> None:
    back = browser.approve(browser.begin(), somebody(login))
    path, query = back.partition("?")[0], query_of(back)
    state = query["state"]
    changed = {
        "missing": f"code={query['code']}",
        "wrong": f"code={query['code']}&state={state[:-1]}{'A' if state[-1] != 'A' else 'B'}",
        "empty": f"code={query['code']}&state=",
        "twice": f"code={query['code']}&state={state}&state={state}",
        "unknown": f"code={query['code']}&state={secrets.token_urlsafe(32)}",
    }[fault]
    answer = browser.get(f"{path}?{changed}")
    assert answer.status_code == 400
    assert browser.session is None
    # Nothing was used up by it: the login itself still ends well.
    assert browser.get(back).status_code == 303


def test_what_came_back_once_never_works_again(login: Login, browser: Browser) -> None:
    back = browser.approve(browser.begin(), somebody(login))
    assert browser.get(back).status_code == 303
    browser.http.cookies.delete("spell_session")
    again = browser.get(back)
    assert (again.status_code, browser.session) == (400, None)
    assert "over" in again.text


def test_another_browser_cannot_finish_what_this_one_began(login: Login, browser: Browser) -> None:
    """Login CSRF: an attacker's own address of return signs nobody else's browser in as the attacker."""
    back = browser.approve(browser.begin(), somebody(login))
    with Browser(login[0]) as victim:
        assert victim.get(back).status_code == 400
        victim.begin()  # also one that has begun a login of its own
        assert victim.get(back).status_code == 400
        assert victim.session is None


def test_a_login_that_took_too_long_is_over(login: Login, browser: Browser, rows: Rows) -> None:
    back = browser.approve(browser.begin(), somebody(login))
    rows.execute("UPDATE login_flows SET expires_at = now() - interval '1 second' WHERE used_at IS NULL")
    assert (browser.get(back).status_code, browser.session) == (400, None)


def test_the_code_needs_the_verifier_of_its_own_login(login: Login, browser: Browser) -> None:
    """PKCE: a code that was stolen on the way is put into another login of the thief's, and GitHub refuses it."""
    stolen = query_of(browser.approve(browser.begin(), somebody(login)))["code"]
    with Browser(login[0]) as thief:
        back = thief.approve(thief.begin(), somebody(login))
        own = query_of(back)["code"]
        answer = thief.get(back.replace(own, stolen))
        assert (answer.status_code, thief.session) == (502, None)
        assert "did not answer as it should" in answer.text
    address = query_of(browser.begin())
    assert (address["code_challenge_method"], len(address["code_challenge"])) == ("S256", 43)
    assert "code_verifier" not in address


def test_who_turns_it_down_is_told_where_to_begin_again(browser: Browser) -> None:
    path = f"/auth/github?return_to={quote('/docs?a=1')}"
    back = browser.approve(browser.begin(path), "")
    answer = browser.get(back)
    assert answer.status_code == 400
    assert "You turned it down there." in answer.text
    assert "/login?return_to=%2Fdocs%3Fa%3D1" in answer.text


def test_an_error_of_githubs_is_not_repeated_to_the_page(browser: Browser) -> None:
    state = query_of(browser.begin())["state"]
    answer = browser.get(f"/auth/callback?error=%3Cscript%3E&error_description=%3Cimg%20src%3Dx%3E&state={state}")
    assert answer.status_code == 400
    assert "<script" not in answer.text
    assert "<img" not in answer.text


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "/%2f/evil.example".replace("%2f", "/"),
        "/%2fevil.example",
        "/%5cevil.example",
        "/%252fevil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "/\tevil.example",
        "/ok\r\nset-cookie: a=b",
        " //evil.example",
        "@evil.example",
        "/" + "a" * 600,
    ],
)
def test_a_login_leads_to_paths_of_ours_alone(login: Login, browser: Browser, target: str) -> None:
    answer = browser.sign_in(somebody(login), f"/auth/github?return_to={quote(target, safe='')}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")


def test_a_login_goes_on_where_it_was_asked_for(login: Login, browser: Browser) -> None:
    path = "/auth/device?user_code=BCDF-GHJK"
    answer = browser.sign_in(somebody(login), f"/auth/github?return_to={quote(path, safe='')}")
    assert answer.headers["location"] == path
    assert quote(path, safe="") in browser.get(f"/login?return_to={quote(path, safe='')}").text


def test_a_suspended_account_gets_no_session(login: Login, browser: Browser, rows: Rows) -> None:
    name = somebody(login)
    browser.sign_in(name)
    rows.execute("UPDATE accounts SET status = 'suspended' WHERE handle = %(handle)s", {"handle": name})
    with Browser(login[0]) as other:
        answer = other.sign_in(name)
        assert (answer.status_code, other.session) == (403, None)
        assert "suspended" in answer.text


def test_github_out_of_reach_is_a_page_that_says_what_to_do(login: Login, browser: Browser) -> None:
    back = browser.approve(browser.begin(), somebody(login))
    login[1].stop()
    try:
        answer = browser.get(back)
    finally:
        login[1].start()
    assert (answer.status_code, browser.session) == (502, None)
    assert 'href="/login"' in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_who_typed_another_name_of_this_machine_begins_under_ours(login: Login, browser: Browser) -> None:
    port = login[0].url.rpartition(":")[2]
    answer = browser.get("/login?return_to=/docs", headers={"host": f"localhost:{port}"})
    assert answer.headers["location"] == f"{login[0].url}/login?return_to=%2Fdocs"
    elsewhere = browser.get("/login", headers={"host": "evil.example"})
    assert elsewhere.status_code == 200  # and is sent nowhere


def test_signing_out_ends_the_session(login: Login, browser: Browser) -> None:
    browser.sign_in(somebody(login))
    token = browser.session
    foreign = browser.http.post(f"{login[0].url}/account/sign-out", headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403
    answer = browser.submit("/account/sign-out", {})
    assert (answer.status_code, answer.headers["location"], browser.session) == (303, "/login", None)
    old = httpx.delete(f"{login[0].url}/v1/sessions", headers={"authorization": f"Bearer {token}"})
    assert old.status_code == 401
    assert browser.get("/account").headers["location"] == "/login?return_to=/account"


def test_nothing_that_opens_a_login_is_stored_or_logged(login: Login, browser: Browser, rows: Rows) -> None:
    address = browser.begin()
    binding = browser.http.cookies["spell_browser"]
    back = browser.approve(address, somebody(login))
    browser.get(back)
    canaries = [query_of(address)["state"], query_of(back)["code"], binding, login[1].client_secret, browser.session]
    stored = "".join(
        str(rows.execute(query))  # the whole of what logins write
        for query in (
            "SELECT l::text FROM login_flows l",
            "SELECT s::text FROM sessions s",
            "SELECT i::text FROM identities i",
        )
    )
    logged = login[0].log_path.read_text()
    for canary in canaries:
        assert canary is not None
        assert canary not in stored
        assert canary not in logged
