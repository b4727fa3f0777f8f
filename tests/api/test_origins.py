"""Which pages may use a key (allowed_origins), and what browsers are told about it (CORS)."""

from collections.abc import Generator

import pytest

from domain.model.api_key import prefix_of
from local.servers import Servers
from tests.api.platform import Account, Api, Rows, run_api

OPERATORS = "https://console.example.com"


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    del rows
    with run_api(
        api_database_url, servers.redis_url, tmp_path_factory.mktemp("api"), CORS_ORIGINS=OPERATORS
    ) as running:
        yield running


def bind(rows: Rows, account: Account, *origins: str) -> Account:
    rows.execute(
        "UPDATE api_keys SET allowed_origins = %(origins)s WHERE id = %(id)s",
        {"origins": list(origins), "id": account.key_id},
    )
    return account


def preflight(api: Api, origin: str) -> tuple[int, str | None]:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    answer = api.http.options("/v1/casts", headers=headers)
    return answer.status_code, answer.headers.get("access-control-allow-origin")


def test_a_bound_key_serves_its_own_pages_and_what_is_no_page(api: Api, rows: Rows) -> None:
    account = bind(rows, rows.account(), "https://app.example.com")
    reference = rows.spell(account, "noop")
    for origin, status in (
        ("https://app.example.com", 202),
        (None, 202),
        ("https://app.example.com:8443", 403),
        ("http://app.example.com", 403),
        ("https://app.example.com.evil.example", 403),
        ("null", 403),
        (OPERATORS, 403),
    ):
        headers = account.headers if origin is None else {**account.headers, "origin": origin}
        answer = api.http.post("/v1/casts", json={"spell": reference}, headers=headers)
        assert answer.status_code == status, origin
        assert api.http.get("/v1/casts", headers=headers).status_code == (200 if status == 202 else 403)


def test_an_answer_is_opened_to_the_operators_pages_and_to_those_of_the_key(api: Api, rows: Rows) -> None:
    bound = bind(rows, rows.account(), "https://mine.example.com", "https://two.example.com")
    free = rows.account()
    for account, origin, opened in (
        (bound, "https://mine.example.com", True),
        (bound, "https://two.example.com", True),
        (bound, OPERATORS, True),  # it reads that the key is not for it
        (free, OPERATORS, True),
        (free, "https://mine.example.com", False),
    ):
        answer = api.http.get("/v1/budgets", headers={**account.headers, "origin": origin})
        assert answer.headers.get("access-control-allow-origin") == (origin if opened else None)
        assert answer.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in answer.headers
        assert ("ratelimit" in answer.headers.get("access-control-expose-headers", "")) is opened
    assert "access-control-allow-origin" not in api.http.get("/v1/budgets", headers=free.headers).headers


def test_a_preflight_is_answered_for_pages_that_some_living_key_allows(api: Api, rows: Rows) -> None:
    account = bind(rows, rows.account(), "https://living.example.com")
    dead = bind(rows, rows.account(), "https://dead.example.com")
    rows.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s", {"id": dead.key_id})
    expired = bind(rows, rows.account(), "https://expired.example.com")
    rows.execute("UPDATE api_keys SET expires_at = now() WHERE id = %(id)s", {"id": expired.key_id})
    assert preflight(api, "https://living.example.com") == (204, "https://living.example.com")
    assert preflight(api, OPERATORS) == (204, OPERATORS)
    for origin in ("https://dead.example.com", "https://expired.example.com", "https://nobody.example", "null", "*"):
        assert preflight(api, origin) == (403, None)
    full = api.http.options(
        "/v1/keys/x", headers={"origin": OPERATORS, "access-control-request-method": "PATCH"}
    ).headers
    assert "PATCH" in full["access-control-allow-methods"]
    assert "idempotency-key" in full["access-control-allow-headers"]
    assert account.prefix == prefix_of(account.key)


def test_origins_are_set_by_whoever_makes_or_changes_the_key(api: Api, rows: Rows) -> None:
    account = rows.account()
    rows.execute("UPDATE api_keys SET scopes = '{keys:write,casts:read}' WHERE id = %(id)s", {"id": account.key_id})
    asked = {"name": "page", "scopes": ["casts:read"], "allowed_origins": ["https://page.example.com"]}
    made = api.http.post("/v1/keys", json=asked, headers=account.headers).json()
    assert made["allowed_origins"] == ["https://page.example.com"]
    headers = {"authorization": f"Bearer {made['key']}", "origin": "https://page.example.com"}
    assert api.http.get("/v1/casts", headers=headers).status_code == 200
    moved = {"allowed_origins": ["https://moved.example.com"]}
    changed = api.http.patch(f"/v1/keys/{made['id']}", json=moved, headers=account.headers)
    assert changed.json()["allowed_origins"] == moved["allowed_origins"]
    bind(rows, account, "https://page.example.com")
    assert api.http.post("/v1/keys", json={**asked, **moved}, headers=account.headers).status_code == 403
    inherited = api.http.post("/v1/keys", json={**asked, "allowed_origins": []}, headers=account.headers)
    assert inherited.json()["allowed_origins"] == ["https://page.example.com"]
