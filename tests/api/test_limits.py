"""How often: every route there is has a limit, every answer says so, and guessing at keys costs us little."""

import itertools
import re
from collections.abc import Callable, Generator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis

from api.operator.metrics import LIMITED
from api.weights import DOWNLOAD, EXPORT, LOGIN, PAGES_RPM, PUBLISH, REACH_OUT
from domain.model.key_rules import KeyScope
from local.servers import Servers
from tests.api.access_table import OPEN, OPERATOR, PUBLIC, ROWS, SESSION, WORKER, Row
from tests.api.platform import ADMIN_SECRET, Account, Api, Rows, run_api
from tests.servers import flush_redis
from workers import keys

ANON_RPM = 3
HEADERS = ("ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
# What watches the platform; each says in its decorator why.
UNLIMITED = {"/healthz", "/readyz", "/metrics"}
_ADDRESSES: Iterator[str] = (f"198.18.{high}.{low}" for high, low in itertools.product(range(256), range(256)))


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    """One that believes its callers' addresses, so that each test is somebody else, and gives accounts one request."""
    del rows
    flush_redis(servers.redis_url)
    folder = tmp_path_factory.mktemp("api")
    settings = {"TRUSTED_PROXIES": "127.0.0.1/32", "RATE_LIMIT_ANON_RPM": str(ANON_RPM), "RATE_LIMIT_RPM": "1"}
    with run_api(api_database_url, servers.redis_url, folder, **settings) as running:
        yield running


@pytest.fixture
def place() -> dict[str, str]:
    """The headers of an address nobody used before."""
    return {"x-forwarded-for": next(_ADDRESSES)}


def every_scope(rows: Rows, rpm: int) -> Account:
    account = rows.account(rpm=rpm)
    scopes = sorted(map(str, KeyScope))
    rows.execute("UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", {"scopes": scopes, "id": account.key_id})
    return account


def ask(api: Api, row: Row, headers: dict[str, str]) -> httpx.Response:
    """Ask for something that is not there, with a body that does not fit: the limit comes before all that."""
    path = re.sub(r"\{\w+:uuid\}", str(uuid4()), row.path)
    path = re.sub(r"\{\w+:str\}", "0" * 64, path)
    return api.http.request(row.method, path, headers={"prefer": "wait=0", **headers}, content=b"{")


def who(rows: Rows, row: Row) -> Callable[[], dict[str, str]]:
    """Return what a caller sends whom the route lets in, and who has one request a minute if he has a rate."""
    if row.who == SESSION:
        account = rows.account()
        return lambda: rows.session(account).headers  # another each time: the one before may have ended
    if row.who in {PUBLIC, OPEN}:
        headers: dict[str, str] = {}
    elif row.who == WORKER:
        headers = {"authorization": "Bearer none"}
    elif row.who == OPERATOR:
        headers = {"x-admin-secret": ADMIN_SECRET}
    else:
        headers = every_scope(rows, 1).headers
    return lambda: headers


def use_up(servers: Servers, address: str) -> None:
    """Leave nothing of any rate of an address: as if it had asked as often as it may."""
    with redis.Redis.from_url(servers.redis_url) as client:
        seconds, micros = client.time()
        for kind in LIMITED:
            client.set(keys.rate(f"{kind}:{address}"), (seconds + 60) * 1_000_000 + micros, px=60_000)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.path}")
def test_every_route_is_limited(api: Api, servers: Servers, rows: Rows, place: dict[str, str], row: Row) -> None:
    credentials = who(rows, row)
    first = ask(api, row, credentials() | place)
    if row.path in UNLIMITED:
        assert {ask(api, row, place).status_code for _ in range(2 * ANON_RPM)} == {first.status_code}
        return
    assert first.status_code not in {429, 500}, first.text
    if int(first.headers["x-ratelimit-limit"]) > 1:
        use_up(servers, place["x-forwarded-for"])
    second = ask(api, row, credentials() | place)
    assert (second.status_code, second.json()["error"]) == (429, "rate_limited")
    assert 1 <= int(second.headers["retry-after"]) <= 60
    for answer in (first, second):
        assert [name for name in HEADERS if name not in answer.headers] == []
    assert second.headers["x-ratelimit-remaining"] == "0"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/no/such/path", {}, 404),
        ("GET", "/docs", {}, 200),
        ("DELETE", "/v1/casts", {}, 405),
        ("PATCH", "/healthz", {}, 405),
        ("POST", "/v1/cast", {}, 401),
        ("POST", "/v1/casts/batch", {"authorization": "Bearer x"}, 401),
        ("GET", "/v1/keys", {}, 401),
        ("GET", "/v1/spells", {"authorization": "Basic eDp5"}, 401),
        ("OPTIONS", "/v1/keys", {"origin": "https://evil.example", "access-control-request-method": "GET"}, 403),
    ],
)
def test_what_is_no_route_or_lets_nobody_in_is_limited_too(
    api: Api, servers: Servers, place: dict[str, str], method: str, path: str, headers: dict[str, str], status: int
) -> None:
    first = api.http.request(method, path, headers=headers | place)
    assert first.status_code == status
    assert [name for name in HEADERS if name not in first.headers] == []
    use_up(servers, place["x-forwarded-for"])
    second = api.http.request(method, path, headers=headers | place)
    assert (second.status_code, second.headers["content-type"]) == (429, "application/problem+json")
    assert api.http.request(method, path, headers=headers | {"x-forwarded-for": next(_ADDRESSES)}).status_code == status


def test_whoever_we_know_is_limited_by_his_own_rate_wherever_he_is(api: Api, rows: Rows, place: dict[str, str]) -> None:
    """Also where no handler is reached: another caller of his address does not pay for him, nor he for that one."""
    one, other = every_scope(rows, 2), every_scope(rows, 2)
    wrong_page = {"origin": "https://evil.example"}
    rows.execute("UPDATE api_keys SET allowed_origins = '{https://good.example}' WHERE id = %(id)s", {"id": one.key_id})
    mine = [api.http.get("/v1/keys", headers=one.headers | place | wrong_page).status_code for _ in range(3)]
    assert mine == [403, 403, 429]
    assert api.http.get("/v1/keys", headers=other.headers | place).status_code == 200
    strangers = [api.http.get("/v1/keys", headers=place).status_code for _ in range(ANON_RPM + 1)]
    assert strangers == [*[401] * ANON_RPM, 429]


def test_sessions_of_an_account_share_one_rate_and_its_keys_have_their_own(api: Api, rows: Rows) -> None:
    account = every_scope(rows, 2)
    sessions = [rows.session(account) for _ in range(2)]
    asked = [api.http.get("/v1/sessions", headers=one.headers).status_code for one in sessions]
    assert asked == [200, 429]
    assert [api.http.get("/v1/keys", headers=account.headers).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("method", "path", "weight"),
    [
        ("PUT", "/v1/spells/{handle}/x/versions/1.0.0", PUBLISH),
        ("GET", "/v1/spells/{handle}/x/versions/1.0.0/module", DOWNLOAD),
        ("GET", "/v1/usage/export", EXPORT),
        ("POST", "/auth/device", LOGIN),
        ("GET", "/v1/keys", 1),
    ],
)
def test_a_route_weighs_what_it_costs(api: Api, rows: Rows, method: str, path: str, weight: int) -> None:
    account = every_scope(rows, 60)
    answer = api.http.request(method, path.replace("{handle}", account.handle), headers=account.headers)
    assert int(answer.headers["x-ratelimit-remaining"]) == 60 - weight


@pytest.mark.parametrize(
    ("method", "path", "weight"),
    [
        ("GET", "/login", 1),
        ("GET", "/docs/page.css", 1),
        ("GET", "/auth/callback", LOGIN),
        ("POST", "/auth/verify", LOGIN),
        ("POST", "/auth/magic-link", REACH_OUT),
    ],
)
def test_pages_have_a_rate_of_their_own_and_logins_weigh_more(
    api: Api, place: dict[str, str], method: str, path: str, weight: int
) -> None:
    answer = api.http.request(method, path, headers=place)
    assert int(answer.headers["x-ratelimit-remaining"]) == PAGES_RPM - weight
    assert api.http.get("/v1/spells", headers=place).headers["x-ratelimit-remaining"] == str(ANON_RPM - 1)


def test_nobody_makes_us_read_a_body_he_may_not_send(api: Api, rows: Rows, place: dict[str, str]) -> None:
    """Who is turned away, or comes too often, is told that and not what is wrong with his body."""
    powerless = rows.account(rpm=2)
    rows.execute("UPDATE api_keys SET scopes = '{}' WHERE id = %(id)s", {"id": powerless.key_id})
    bad: dict[str, Any] = {"content": b"{" * 1_000_000, "headers": {"content-type": "application/json"}}
    bad["headers"] |= place
    assert api.http.post("/v1/keys", **bad).status_code == 401
    bad["headers"] |= powerless.headers
    assert [api.http.post("/v1/webhooks", **bad).status_code for _ in range(3)] == [403, 403, 429]
