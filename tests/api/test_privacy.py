"""What a person does with an export over HTTP: ask, look, download; what others may not."""

import io
import zipfile
from collections.abc import AsyncGenerator, Generator
from uuid import uuid4

import msgspec
import pytest

from domain.store.connection import Role, open_pool
from local.servers import Servers
from scheduler.exports import make_one_piece
from scheduler.jobs import Clockwork
from tests.api.platform import Account, Api, Rows, Signed, run_api
from tests.domain.world import TOKEN_KEY
from workers.broker.async_link import open_redis

PATH = "/v1/privacy/export"


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    """With a rate that holds up nobody here: exports weigh much."""
    del rows
    folder = tmp_path_factory.mktemp("api")
    with run_api(api_database_url, servers.redis_url, folder, RATE_LIMIT_RPM="100000") as running:
        yield running


@pytest.fixture
async def clockwork(rows: Rows, redis_url: str) -> AsyncGenerator[Clockwork]:
    async with (
        open_redis(redis_url) as redis,
        open_pool(rows.url, role=Role.ENGINE, size_max=2) as pool,
        open_pool(rows.url, role=Role.ENGINE, size_max=1, statement_timeout_ms=60_000) as slow_pool,
    ):
        yield Clockwork(pool=pool, slow_pool=slow_pool, redis=redis, token_key=TOKEN_KEY)


@pytest.fixture
def person(rows: Rows, account: Account) -> Signed:
    return rows.session(account)


async def make_all(clockwork: Clockwork) -> None:
    while await make_one_piece(clockwork):
        pass


async def test_a_person_asks_waits_and_downloads_what_is_theirs(
    api: Api, rows: Rows, account: Account, person: Signed, clockwork: Clockwork
) -> None:
    spell = rows.spell(account, "mine")
    cast = api.http.post("/v1/casts", json={"spell": spell, "input": {"n": 1}}, headers=account.headers).json()
    rows.finish(cast["id"], output=b"[42]")
    asked = api.http.post(PATH, headers={**person.headers, "idempotency-key": "e1"})
    assert asked.status_code == 202, asked.text
    body = asked.json()
    assert (body["status"], body["progress_percent"], body["download_url"]) == ("pending", 0, None)
    one = asked.headers["location"]
    assert one == f"{PATH}/{body['id']}"
    early = api.http.get(f"{one}/download", headers=person.headers)
    assert (early.status_code, early.json()["error"]) == (409, "conflict")
    second = api.http.post(PATH, headers=person.headers)
    assert (second.status_code, second.json()["error"]) == (409, "conflict")

    await make_all(clockwork)
    ready = api.http.get(one, headers=person.headers).json()
    assert (ready["status"], ready["progress_percent"]) == ("ready", 100)
    path = ready["download_url"].removeprefix(api.url)
    assert path == f"{one}/download"
    answer = api.http.get(path, headers=person.headers)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["cache-control"] == "private, no-store"
    assert "attachment" in answer.headers["content-disposition"]
    assert int(answer.headers["content-length"]) == len(answer.content) == ready["size_bytes"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        casts = msgspec.json.decode(archive.read("casts.json"))
        keys = archive.read("keys.json")
        profile = msgspec.json.decode(archive.read("profile.json"))
    assert [(row["id"], row["spell"], row["input"], row["output"]) for row in casts] == [
        (cast["id"], spell, '{"n":1}', "[42]")
    ]
    assert account.prefix.encode() in keys
    assert account.key.encode() not in keys
    assert profile[0]["email"] == f"{account.handle}@example.com"

    replayed = api.http.post(PATH, headers={**person.headers, "idempotency-key": "e1"})
    assert (replayed.status_code, replayed.headers["idempotent-replayed"]) == (202, "true")
    assert (replayed.json()["id"], replayed.json()["status"]) == (body["id"], "ready")
    entries = rows.execute(
        "SELECT action, target_id, actor_kind, actor_id FROM audit_log"
        " WHERE account_id = %(id)s AND action LIKE 'export.%%'",
        {"id": account.id},
    )
    assert entries == [("export.create", body["id"], "session", person.id)]


async def test_what_is_anothers_is_not_found_and_keys_may_nothing(
    api: Api, rows: Rows, account: Account, person: Signed, clockwork: Clockwork
) -> None:
    asked = api.http.post(PATH, headers=person.headers)
    await make_all(clockwork)
    stranger = rows.account()
    other = rows.session(stranger)
    for path in (asked.headers["location"], f"{asked.headers['location']}/download", f"{PATH}/{uuid4()}"):
        assert api.http.get(path, headers=other.headers).status_code == 404
        assert api.http.get(path, headers=account.headers).status_code == 403
        assert api.http.get(path).status_code == 401
    assert api.http.post(PATH, headers=account.headers).status_code == 403
    assert api.http.post(PATH, headers=person.cookie).status_code == 403, "no page of ours asks"
    assert api.http.get(f"{asked.headers['location']}/download", headers=person.cookie).status_code == 200


async def test_an_export_is_gone_the_moment_its_week_is_over(
    api: Api, rows: Rows, person: Signed, clockwork: Clockwork
) -> None:
    """Before anything is dropped: the scheduler may be late."""
    asked = api.http.post(PATH, headers=person.headers)
    await make_all(clockwork)
    one = asked.headers["location"]
    rows.execute(
        "UPDATE privacy_exports SET expires_at = clock_timestamp() WHERE id = %(id)s", {"id": asked.json()["id"]}
    )
    shown = api.http.get(one, headers=person.headers).json()
    assert (shown["status"], shown["download_url"], shown["size_bytes"]) == ("expired", None, None)
    gone = api.http.get(f"{one}/download", headers=person.headers)
    assert gone.status_code == 404
    assert "was kept until" in gone.json()["detail"]
    assert api.http.post(PATH, headers=person.headers).status_code == 202
