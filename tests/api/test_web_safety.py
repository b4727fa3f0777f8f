"""Other sites' pages and a person's cookie: they change nothing with it, whatever they send."""

from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from api.sessions.cookies import clear_session_cookie, read_cookie, set_session_cookie
from api.web_safety import safe_return_path
from domain.model.session import OpenedSession
from local.servers import Servers
from tests.api.platform import Account, Api, Rows, Signed, run_api

HTTPS = "https://spell.example"


@pytest.fixture(scope="module")
def behind_https(api_database_url: str, servers: Servers, rows: Rows, folder: Path) -> Generator[Api]:
    """An api whose PUBLIC_URL is https, behind a proxy that has taken the encryption off."""
    del rows
    with run_api(api_database_url, servers.redis_url, folder, PUBLIC_URL=HTTPS) as running:
        yield running


@pytest.fixture
def signed(rows: Rows, account: Account) -> Signed:
    return rows.session(account)


def port_of(api: Api) -> str:
    return api.url.rpartition(":")[2]


FOREIGN = {
    "nothing said": {},
    "null": {"origin": "null"},
    "another site": {"origin": "https://evil.example"},
    "a sub-domain": {"origin": "http://evil.127.0.0.1:{port}"},
    "a sub-domain of this machine": {"origin": "http://evil.localhost:{port}"},
    "another port": {"origin": "http://127.0.0.1:1{port}"},
    "no port": {"origin": "http://127.0.0.1"},
    "another scheme": {"origin": "https://127.0.0.1:{port}"},
    "ours as a beginning": {"origin": "http://127.0.0.1:{port}.evil.example"},
    "ours as a user name": {"origin": "http://127.0.0.1:{port}@evil.example"},
    "ours with a path": {"origin": "http://127.0.0.1:{port}/"},
    "ours among others": {"origin": "http://127.0.0.1:{port} https://evil.example"},
    "a Referer alone": {"referer": "http://127.0.0.1:{port}/dashboard"},
    "cross-site": {"sec-fetch-site": "cross-site"},
    "same-site": {"sec-fetch-site": "same-site"},
    "the address bar": {"sec-fetch-site": "none"},
    "ours, but fetched across sites": {"origin": "http://127.0.0.1:{port}", "sec-fetch-site": "cross-site"},
    "fetched by us, says another site": {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    "a form of another site": {"origin": "https://evil.example", "content-type": "application/x-www-form-urlencoded"},
    "text of another site": {"origin": "https://evil.example", "content-type": "text/plain"},
    "text of nobody": {"content-type": "text/plain"},
}


@pytest.mark.parametrize("said", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_page_changes_nothing(
    api: Api, rows: Rows, account: Account, signed: Signed, said: dict[str, str]
) -> None:
    other, spell = rows.session(account), rows.spell(account, "echo")
    headers = {name: value.format(port=port_of(api)) for name, value in said.items()} | signed.cookie
    cast = b'{"spell": "%s"}' % spell.encode()
    answers = [
        api.http.delete("/v1/sessions", headers=headers),
        api.http.post("/v1/casts", content=cast, headers=headers),
        api.http.post("/v1/keys", content=b'{"name": "x"}', headers=headers),
        api.http.post("/auth/logout", headers=headers),
        api.http.post("/auth/device/confirm", content=b"user_code=BCDF-GHJK&decision=approve", headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [403] * len(answers)
    assert all("access-control-allow-origin" not in answer.headers for answer in answers)
    assert api.http.get("/auth/me", headers=other.headers).status_code == 200
    assert api.http.get("/auth/me", headers=signed.headers).status_code == 200
    assert rows.execute("SELECT count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id}) == [(0,)]
    assert rows.execute("SELECT count(*) FROM api_keys WHERE account_id = %(id)s", {"id": account.id}) == [(1,)]


@pytest.mark.parametrize(
    "said",
    [
        {"origin": "http://127.0.0.1:{port}"},
        {"origin": "http://localhost:{port}"},
        {"origin": "http://[::1]:{port}"},
        {"sec-fetch-site": "same-origin"},
        {"origin": "http://127.0.0.1:{port}", "sec-fetch-site": "same-origin"},
    ],
)
def test_a_page_of_ours_may(api: Api, signed: Signed, said: dict[str, str]) -> None:
    headers = {name: value.format(port=port_of(api)) for name, value in said.items()} | signed.cookie
    assert api.http.delete("/v1/sessions", headers=headers).status_code == 200


def test_behind_https_only_the_public_origin_is_ours(behind_https: Api, signed: Signed) -> None:
    cookie = {"cookie": f"__Host-spell_session={signed.token}"}
    for origin, status in ((HTTPS, 200), ("http://spell.example", 403), ("https://www.spell.example", 403)):
        headers = {**cookie, "origin": origin}
        assert behind_https.http.delete("/v1/sessions", headers=headers).status_code == status
    local = {**cookie, "origin": behind_https.url}
    assert behind_https.http.delete("/v1/sessions", headers=local).status_code == 403


def test_who_shows_a_token_needs_no_page(api: Api, rows: Rows, account: Account, signed: Signed) -> None:
    foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    assert api.http.delete("/v1/sessions", headers={**signed.headers, **foreign}).status_code == 200
    spell = rows.spell(account, "echo")
    cast = api.http.post("/v1/casts", json={"spell": spell}, headers={**account.headers, **foreign})
    assert cast.status_code == 202


def test_a_token_counts_alone_beside_a_cookie(api: Api, rows: Rows, signed: Signed) -> None:
    """What is shown on purpose wins, good or not; the cookie is as if it were not there."""
    foreign = {"origin": "https://evil.example"}
    theirs = rows.account()
    both = {**signed.cookie, **theirs.headers, **foreign}
    assert api.http.get("/auth/me", headers=both).json()["handle"] == theirs.handle
    assert api.http.post("/v1/budgets", json={"hard_limit_cents": 1}, headers=both).status_code in {201, 422}
    assert api.http.delete("/v1/sessions", headers=both).status_code == 403  # a key has no sessions
    for wrong in ("Bearer", "Bearer ss_" + "A" * 43, "Basic dTpw", "", signed.token):
        headers = {**signed.cookie, "authorization": wrong}
        assert api.http.get("/auth/me", headers=headers).status_code == 401, wrong


def test_a_cookie_that_was_slipped_in_is_nobody(api: Api, behind_https: Api, rows: Rows, signed: Signed) -> None:
    """Fixation: a token that the platform did not give opens nothing and is never taken over."""
    made_up = "ss_" + "A" * 43
    before = rows.execute("SELECT count(*) FROM sessions")
    for cookie in (
        f"spell_session={made_up}",
        f"spell_session={signed.token}; spell_session={made_up}",
        f"spell_session={signed.token[:-1]}",
        f"spell_session={signed.token}x",
        f"__Host-spell_session={signed.token}",
        f"Spell_Session={signed.token}",
        "spell_session=",
    ):
        answer = api.http.get("/auth/me", headers={"cookie": cookie})
        assert answer.status_code == 401, cookie
        assert "set-cookie" not in answer.headers
    assert rows.execute("SELECT count(*) FROM sessions") == before
    # Behind https a cookie without the prefix may come from a sub-domain or from plain http.
    assert behind_https.http.get("/auth/me", headers=signed.cookie).status_code == 401
    prefixed = {"cookie": f"other=1; __Host-spell_session={signed.token}; last=2"}
    assert behind_https.http.get("/auth/me", headers=prefixed).status_code == 200


@pytest.mark.parametrize("secure", [False, True])
def test_cookies_are_kept_from_scripts_and_other_sites(signed: Signed, *, secure: bool) -> None:
    opened = OpenedSession(token=signed.token, session_id=signed.id, expires_at=datetime(2026, 12, 20, tzinfo=UTC))
    headers: list[tuple[bytes, bytes]] = []
    set_session_cookie(headers, opened, secure=secure)
    clear_session_cookie(headers, secure=secure)
    given, cleared = (value.decode() for name, value in headers if name == b"set-cookie")
    name = "__Host-spell_session" if secure else "spell_session"
    assert given.startswith(f"{name}={signed.token}; ")
    assert cleared.startswith(f"{name}=; ")
    for text, age_s in ((given, 30 * 86_400), (cleared, 0)):
        flags = set(text.split("; ")[1:])
        assert flags == {"Path=/", f"Max-Age={age_s}", "HttpOnly", "SameSite=Lax", *(("Secure",) if secure else ())}
    sent = {b"cookie": given.partition(";")[0].encode()}
    assert read_cookie(sent, "spell_session", secure=secure) == signed.token
    assert read_cookie(sent, "spell_session", secure=not secure) is None


def test_logging_out_takes_the_cookie_away(behind_https: Api, rows: Rows, account: Account) -> None:
    signed = rows.session(account)
    headers = {"cookie": f"__Host-spell_session={signed.token}", "origin": HTTPS}
    answer = behind_https.http.post("/auth/logout", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["set-cookie"].startswith("__Host-spell_session=; ")
    assert behind_https.http.post("/auth/logout", headers=headers).status_code == 401
    assert behind_https.http.get("/auth/me", headers=signed.headers).status_code == 401


def answers_of(api: Api, account: Account) -> list[httpx.Response]:
    ours = account.headers
    return [
        api.http.get("/healthz"),
        api.http.get("/docs"),
        api.http.get("/docs/errors/not_found"),
        api.http.get("/auth/device"),
        api.http.get("/nothing/here"),
        api.http.get("/v1/casts"),
        api.http.get("/v1/casts", headers=ours),
        api.http.post("/v1/casts", content=b"{", headers={**ours, "content-type": "application/json"}),
        api.http.put("/v1/cast", headers=ours),
        api.http.options("/v1/cast", headers={"origin": "https://x.example", "access-control-request-method": "POST"}),
    ]


def test_every_answer_is_closed_to_other_sites(api: Api, behind_https: Api, account: Account) -> None:
    for answer in answers_of(api, account):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy or answer.request.url.path == "/docs"
        assert "'unsafe-inline'" not in policy.replace("style-src 'self' 'unsafe-inline'", "")
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in answer.headers["permissions-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers.get_list("content-security-policy", split_commas=False) == [policy]
        assert "strict-transport-security" not in answer.headers
    for answer in answers_of(behind_https, account):
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_our_pages_have_no_script_and_no_style_of_their_own(api: Api, rows: Rows, account: Account) -> None:
    signed = rows.session(account)
    for path in ("/docs/errors/not_found", "/auth/device", "/auth/device?user_code=x"):
        answer = api.http.get(path, headers=signed.cookie)
        assert answer.headers["content-type"].startswith("text/html")
        text = answer.text.lower()
        assert [mark for mark in ("<script", "<style", " style=", " onclick=", "javascript:") if mark in text] == []


@pytest.mark.parametrize(
    "path",
    [
        *("//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example"),
        *(
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "evil.example",
            "",
            " /x",
            "/\t/evil.example",
        ),
        *("/%2fevil.example", "/%2Fevil.example", "/%5cevil.example", "/%252fevil.example", "/%09/evil.example"),
        *("/a\r\nset-cookie: a=b", "/a%0d%0aset-cookie:a=b", "/\u2215evil", "/é", "/" + "a" * 500, "?next=/", "#"),
        *("/a%00", "/%25252525252fevil.example"),
    ],
)
def test_nothing_that_could_be_another_host_is_returned_to(path: str) -> None:
    assert safe_return_path(path, "/dashboard") == "/dashboard"


@pytest.mark.parametrize("path", ["/", "/dashboard", "/auth/device?user_code=BCDF-GHJK", "/a?b=%2Fc&d=%20e", "/a#b"])
def test_a_path_of_ours_is_returned_to(path: str) -> None:
    assert safe_return_path(path) == path
