"""Sessions: they identify on every route, are listed, and end at once and everywhere."""

import asyncio
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import sql
from redis import Redis

from api.admission.rate import WINDOW_S
from local.servers import Servers
from tests.api.platform import ADMIN_SECRET, Account, Api, Rows, Signed, run_api
from workers import keys

SETTINGS = {"RATE_LIMIT_RPM": "1000000", "TRUSTED_PROXIES": "127.0.0.1/32"}


@pytest.fixture(scope="module")
def api(api_database_url: str, servers: Servers, rows: Rows, folder: Path) -> Generator[Api]:
    del rows
    with run_api(api_database_url, servers.redis_url, folder, **SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def second(api: Api, api_database_url: str, servers: Servers, folder: Path) -> Generator[Api]:
    del api
    with run_api(api_database_url, servers.redis_url, folder, **SETTINGS) as running:
        yield running


@pytest.fixture
def signed(rows: Rows, account: Account) -> Signed:
    return rows.session(account)


@pytest.fixture
def spell(rows: Rows, account: Account) -> str:
    return rows.spell(account, "echo")


def me(api: Api, signed: Signed) -> int:
    return api.http.get("/auth/me", headers=signed.headers).status_code


def test_a_session_is_its_user_by_token_and_by_cookie(api: Api, account: Account, signed: Signed, spell: str) -> None:
    page = {**signed.cookie, "origin": api.url}
    for headers in (signed.headers, page):
        shown = api.http.get("/auth/me", headers=headers).json()
        assert (shown["handle"], shown["key_prefix"]) == (account.handle, None)
        assert (UUID(shown["session_id"]), UUID(shown["user"]["id"])) == (signed.id, signed.user_id)
        made = api.http.post("/v1/casts", json={"spell": spell}, headers=headers)
        assert made.status_code == 202, made.text
        assert api.http.get(made.json()["urls"]["self"], headers=headers).status_code == 200
        assert api.http.get("/v1/keys", headers=headers).status_code == 200
        many = api.http.post("/v1/casts/batch", json={"casts": [{"spell": spell}]}, headers=headers)
        assert [result["status"] for result in many.json()["results"]] == [202]


def test_the_list_shows_ones_own_sessions_and_which_asks(api: Api, rows: Rows, account: Account) -> None:
    ours, other, program = rows.session(account), rows.session(account), rows.session(account, kind="cli")
    theirs = rows.session(rows.account())
    answer = api.http.get("/v1/sessions", headers=ours.headers)
    listed = {UUID(row["id"]): row for row in answer.json()["data"]}
    assert set(listed) == {ours.id, other.id, program.id}
    assert [identifier for identifier, row in listed.items() if row["current"]] == [ours.id]
    assert listed[ours.id]["device"] == "Firefox on Linux"
    assert theirs.token not in answer.text
    assert ours.token not in answer.text


def test_another_persons_session_is_not_found_and_lives(api: Api, rows: Rows, signed: Signed) -> None:
    theirs = rows.session(rows.account())
    for identifier in (theirs.id, uuid4()):
        assert api.http.delete(f"/v1/sessions/{identifier}", headers=signed.headers).status_code == 404
    assert api.http.delete("/v1/sessions", headers=signed.headers).json() == {"ended": 0}
    assert me(api, theirs) == 200


def test_all_but_the_one_that_asks_end(api: Api, rows: Rows, account: Account, signed: Signed) -> None:
    others = [rows.session(account) for _ in range(3)]
    assert [me(api, other) for other in others] == [200] * 3
    assert api.http.delete("/v1/sessions", headers=signed.headers).json() == {"ended": 3}
    assert api.http.delete("/v1/sessions", headers=signed.headers).json() == {"ended": 0}
    refused = [api.http.delete("/v1/sessions", headers=other.headers).status_code for other in others]
    assert refused == [401] * 3
    assert me(api, signed) == 200


def test_an_ended_session_changes_nothing_in_any_process(
    api: Api, second: Api, rows: Rows, account: Account, spell: str
) -> None:
    """Both processes have just seen it alive, and may believe so for a second when somebody only reads."""
    ended, ours = rows.session(account), rows.session(account)
    for process in (api, second):
        assert me(process, ended) == 200
    gone = api.http.delete(f"/v1/sessions/{ended.id}", headers=ours.headers)
    assert gone.status_code == 204
    assert api.http.delete(f"/v1/sessions/{ended.id}", headers=ours.headers).status_code == 204
    for process in (api, second):
        for path in ("/v1/casts", "/v1/cast"):
            refused = process.http.post(path, json={"spell": spell}, headers=ended.headers)
            assert refused.status_code == 401
        batch = process.http.post("/v1/casts/batch", json={"casts": [{"spell": spell}]}, headers=ended.headers)
        assert batch.status_code == 401
        assert process.http.post("/v1/keys", json={"name": "x"}, headers=ended.headers).status_code == 401
        assert process.http.delete("/v1/sessions", headers=ended.headers).status_code == 401
    assert rows.execute("SELECT count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id}) == [(0,)]


async def cast_on(api: Api, signed: Signed, spell: str, begun: asyncio.Event, ended: asyncio.Event) -> list[int]:
    """Cast until well after the session ended; return the statuses of what was sent after that was answered."""
    late: list[int] = []
    async with httpx.AsyncClient(base_url=api.url, timeout=60) as http:
        while len(late) < 3:
            sent_late = ended.is_set()
            answer = await http.post("/v1/casts", json={"spell": spell}, headers=signed.headers)
            if answer.status_code == 202:
                begun.set()
            if sent_late:
                late.append(answer.status_code)
            else:
                assert answer.status_code in {202, 401}, answer.text
    return late


async def test_no_cast_is_accepted_after_the_end_was_answered(
    api: Api, second: Api, rows: Rows, account: Account, spell: str
) -> None:
    """Forty callers at both processes cast as fast as they can while the session is ended by another."""
    running, ours = rows.session(account), rows.session(account)
    begun, ended = asyncio.Event(), asyncio.Event()
    callers = [
        asyncio.create_task(cast_on((api, second)[number % 2], running, spell, begun, ended)) for number in range(40)
    ]
    await begun.wait()
    async with httpx.AsyncClient(base_url=api.url, timeout=60) as http:
        answer = await http.delete(f"/v1/sessions/{running.id}", headers=ours.headers)
    ended.set()
    assert answer.status_code == 204
    for late in await asyncio.gather(*callers):
        assert late == [401] * 3
    accepted, after = rows.execute(
        "SELECT count(*), count(*) FILTER (WHERE c.accepted_at > s.ended_at) FROM casts c, sessions s"
        " WHERE c.account_id = %(account)s AND s.id = %(id)s",
        {"account": account.id, "id": running.id},
    )[0]
    assert accepted > 0
    assert after == 0


def age(rows: Rows, signed: Signed, **passed: timedelta) -> None:
    """Let time pass for one session: move all its instants back together, as if the clock had gone on."""
    rows.execute(
        "UPDATE sessions SET created_at = created_at - %(all)s, expires_at = expires_at - %(all)s,"
        " last_used_at = last_used_at - %(idle)s WHERE id = %(id)s",
        {"id": signed.id, "all": passed["all"], "idle": passed["idle"]},
    )


@pytest.mark.parametrize(
    ("passed", "idle", "alive"),
    [
        (timedelta(days=6, hours=23), timedelta(days=6, hours=23), True),
        (timedelta(days=7, seconds=1), timedelta(days=7, seconds=1), False),
        (timedelta(days=29, hours=23), timedelta(0), True),
        (timedelta(days=30, seconds=1), timedelta(0), False),
    ],
)
def test_a_session_ends_by_itself(
    api: Api, rows: Rows, account: Account, spell: str, passed: timedelta, idle: timedelta, *, alive: bool
) -> None:
    aged, ours = rows.session(account), rows.session(account)
    age(rows, aged, all=passed, idle=idle)
    cast = api.http.post("/v1/casts", json={"spell": spell}, headers=aged.headers)
    assert cast.status_code == (202 if alive else 401)
    assert me(api, aged) == (200 if alive else 401)
    listed = {row["id"] for row in api.http.get("/v1/sessions", headers=ours.headers).json()["data"]}
    assert (str(aged.id) in listed) == alive


def test_a_session_that_expires_while_it_is_used_casts_nothing(
    api: Api, rows: Rows, account: Account, spell: str
) -> None:
    """The process has just seen it alive; admission asks again."""
    aged = rows.session(account)
    assert me(api, aged) == 200
    age(rows, aged, all=timedelta(days=31), idle=timedelta(0))
    assert api.http.post("/v1/casts", json={"spell": spell}, headers=aged.headers).status_code == 401


def test_a_suspended_account_is_told_so(api: Api, rows: Rows) -> None:
    account = rows.account()
    signed = rows.session(account)
    rows.execute("UPDATE accounts SET status = 'suspended' WHERE id = %(id)s", {"id": account.id})
    assert me(api, signed) == 403


def test_an_administrator_is_one_by_role(api: Api, rows: Rows, account: Account) -> None:
    admin, user = rows.session(rows.account(), role="admin"), rows.session(account)
    path = "/admin/ledger/trial-balance"
    assert api.http.get(path, headers=admin.headers).status_code == 200
    assert api.http.get(path, headers=admin.cookie).status_code == 200
    assert api.http.get(path, headers=user.headers).status_code == 403
    assert api.http.get(path, headers=user.cookie).status_code == 403
    dead = "/admin/dead-letters/default/1-1"
    foreign = {**admin.cookie, "origin": "https://evil.example"}
    assert api.http.delete(dead, headers=foreign).status_code == 403
    assert api.http.delete(dead, headers={**admin.cookie, "origin": api.url}).status_code == 404
    rows.execute("UPDATE users SET role = 'user' WHERE id = %(id)s", {"id": admin.user_id})
    assert api.http.delete(dead, headers=admin.headers).status_code == 403


def test_guesses_at_the_operators_secret_are_few(api: Api, servers: Servers) -> None:
    """Counted by address, right or wrong; here the minute's guesses of one address were made already."""
    headers = {"x-admin-secret": ADMIN_SECRET, "x-forwarded-for": "203.0.113.7"}
    assert api.http.get("/admin/holds", headers=headers).status_code == 200
    with Redis.from_url(servers.redis_url) as redis:
        now_s, now_us = redis.time()
        redis.set(keys.rate("admin:203.0.113.7"), (now_s + WINDOW_S) * 1_000_000 + now_us, px=WINDOW_S * 1_000)
    refused = api.http.get("/admin/holds", headers=headers)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    others = {**headers, "x-forwarded-for": "203.0.113.8"}
    assert api.http.get("/admin/holds", headers=others).status_code == 200


def test_tokens_are_in_no_log_and_in_no_row(api: Api, rows: Rows, signed: Signed, spell: str) -> None:
    begun = api.http.post("/auth/device", json={"device_name": "laptop"}).json()
    polled = api.http.post("/auth/device/token", json={"device_code": begun["device_code"]})
    page = {**signed.cookie, "origin": api.url}
    form = {"user_code": begun["user_code"], "decision": "approve"}
    assert polled.json()["error"] == "authorization_pending"
    assert api.http.post("/auth/device/confirm", data=form, headers=page).status_code == 200
    given = api.http.post("/auth/device/token", json={"device_code": begun["device_code"]}).json()["session_token"]
    for headers in (signed.headers, page, {"authorization": f"Bearer {given}"}):
        api.http.post("/v1/casts", json={"spell": spell, "input": "x"}, headers=headers)
        api.http.post("/v1/casts", content=b"{", headers=headers)
        api.http.get("/nowhere", headers=headers)
    secrets = (signed.token, given, begun["device_code"])
    tables = [row[0] for row in rows.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert {"sessions", "device_logins", "casts"} <= set(tables)
    for table in tables:
        dump = repr(rows.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))))
        assert not [secret for secret in secrets if secret in dump or secret.removeprefix("ss_") in dump], table
    assert api.http.delete("/v1/sessions", headers=signed.headers).status_code == 200
    log = api.log_path.read_text()
    assert not [secret for secret in secrets if secret in log or secret.removeprefix("ss_") in log]
