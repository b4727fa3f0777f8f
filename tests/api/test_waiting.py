"""Callers who wait: with hints over Redis, without them, over Server-Sent Events, and when the process stops."""

import asyncio
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import redis

from domain.model.cast_view import CastRow
from domain.store.casts import casts_by_id
from domain.store.connection import Role, open_pool, statement
from local.servers import Servers
from tests.api.platform import DEAD_REDIS_URL, Account, Api, Rows, run_api
from workers.broker.waking import wake_message
from workers.keys import wake_channel


@pytest.fixture
def spell(rows: Rows, account: Account) -> str:
    return rows.spell(account, "echo")


def finish_soon(rows: Rows, account: Account, *, hint_url: str | None = None) -> threading.Thread:
    """End the account's open cast as soon as there is one, and hint at it where asked to."""

    def finish() -> None:
        other = Rows(rows.url)
        query = "SELECT id FROM casts WHERE account_id = %(id)s AND status = 'queued'"
        while not (found := other.execute(query, {"id": account.id})):
            time.sleep(0.01)
        for (cast_id,) in found:
            other.finish(cast_id)
            if hint_url is not None:
                with redis.Redis.from_url(hint_url) as client:
                    client.publish(wake_channel(), b"x" * 16 + UUID(str(cast_id)).bytes)
        other.close()

    thread = threading.Thread(target=finish)
    thread.start()
    return thread


def test_post_cast_waits_for_the_result(api: Api, rows: Rows, servers: Servers, account: Account, spell: str) -> None:
    finisher = finish_soon(rows, account, hint_url=servers.redis_url)
    answer = api.http.post("/v1/cast", json={"spell": spell}, headers=account.headers)
    finisher.join()
    assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (200, "succeeded", 42)
    assert "preference-applied" not in answer.headers


def test_a_lost_hint_costs_a_quarter_of_a_second(rows: Rows, account: Account, spell: str, folder: Path) -> None:
    """Without Redis there is no hint at all, and the result still comes."""
    with run_api(rows.url, DEAD_REDIS_URL, folder) as alone:
        finisher = finish_soon(rows, account)
        began = time.monotonic()
        answer = alone.http.post("/v1/cast", json={"spell": spell}, headers=account.headers)
        waited_s = time.monotonic() - began
        finisher.join()
    assert (answer.status_code, answer.json()["output"]) == (200, 42)
    assert waited_s < 3


async def row_of(url: str, cast_id: UUID) -> CastRow:
    async with open_pool(url, role=Role.ENGINE, size_max=1) as pool, statement(pool) as connection:
        return (await casts_by_id(connection, ids=[cast_id]))[cast_id]


def test_a_row_is_believed_when_a_ledger_sealed_it(
    rows: Rows, servers: Servers, account: Account, spell: str, folder: Path
) -> None:
    """The row says what Postgres does not, so the answer can have come from nowhere else."""
    key = secrets.token_bytes(32)
    with (
        run_api(rows.url, servers.redis_url, folder, CAST_TOKEN_KEY=key.hex()) as alone,
        redis.Redis.from_url(servers.redis_url) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        waiting = threads.submit(alone.http.post, "/v1/cast", json={"spell": spell}, headers=account.headers)
        query = "SELECT id FROM casts WHERE account_id = %(id)s"
        while not (found := rows.execute(query, {"id": account.id})):
            time.sleep(0.01)
        queued = asyncio.run(row_of(rows.url, found[0][0]))
        ended = msgspec.structs.replace(queued, status="succeeded", output=b"43")
        forged = wake_message([ended.id], ended, key=b"a worker's guess")
        for message in (forged, wake_message([ended.id], queued, key=key), forged[:40], forged[:-1]):
            client.publish(wake_channel(), message)
        time.sleep(0.5)
        assert not waiting.done()
        client.publish(wake_channel(), wake_message([ended.id], ended, key=key))
        answer = waiting.result()
    assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (200, "succeeded", 43)


@pytest.mark.parametrize(
    ("path", "prefer", "applied"),
    [
        ("/v1/cast", "respond-async", "respond-async"),
        ("/v1/cast", "wait=0", "wait=0"),
        ("/v1/casts", "wait=1", "wait=1"),
        ("/v1/casts", "handling=lenient", None),
        ("/v1/casts", "respond-async, wait=5", "respond-async"),
    ],
)
def test_prefer_decides_how_long(
    api: Api, account: Account, spell: str, path: str, prefer: str, applied: str | None
) -> None:
    began = time.monotonic()
    answer = api.http.post(path, json={"spell": spell}, headers={**account.headers, "prefer": prefer})
    waited_s = time.monotonic() - began
    assert (answer.status_code, answer.headers.get("preference-applied")) == (202, applied)
    assert waited_s >= 1 if prefer == "wait=1" else waited_s < 1


def test_get_waits_too(api: Api, rows: Rows, account: Account, spell: str) -> None:
    cast_id = api.http.post("/v1/casts", json={"spell": spell}, headers=account.headers).json()["id"]
    finisher = finish_soon(rows, account)
    answer = api.http.get(f"/v1/casts/{cast_id}", headers={**account.headers, "prefer": "wait=90"})
    finisher.join()
    assert (answer.json()["status"], answer.headers["preference-applied"]) == ("succeeded", "wait=60")


def test_a_replay_waits_for_the_first_cast(api: Api, rows: Rows, account: Account, spell: str) -> None:
    headers = {**account.headers, "idempotency-key": "k"}
    first = api.http.post("/v1/cast", json={"spell": spell}, headers={**headers, "prefer": "respond-async"})
    finisher = finish_soon(rows, account)
    again = api.http.post("/v1/cast", json={"spell": spell}, headers=headers)
    finisher.join()
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


def test_many_wait_and_each_gets_its_own(api: Api, rows: Rows, account: Account, spell: str) -> None:
    headers = {**account.headers, "prefer": "wait=20"}
    with ThreadPoolExecutor(20) as threads:
        waiting = [
            threads.submit(api.http.post, "/v1/casts", json={"spell": spell, "metadata": {"n": n}}, headers=headers)
            for n in range(20)
        ]
        query = "SELECT id, metadata::json ->> 'n' FROM casts WHERE account_id = %(id)s"
        while len(found := rows.execute(query, {"id": account.id})) < 20:
            time.sleep(0.02)
        for cast_id, number in found:
            rows.finish(cast_id, output=number.encode())
        answers = [future.result() for future in waiting]
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["output"] for answer in answers] == list(range(20))


def events_of(response: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, msgspec.json.decode(line.removeprefix("data: "))))
    return found


def test_events_follow_a_cast_to_its_end(api: Api, rows: Rows, account: Account, spell: str) -> None:
    cast_id = api.http.post("/v1/casts", json={"spell": spell}, headers=account.headers).json()["id"]
    finisher = finish_soon(rows, account)
    with api.http.stream("GET", f"/v1/casts/{cast_id}/events", headers=account.headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = events_of(stream)
    finisher.join()
    assert [name for name, _ in events] in (["queued", "succeeded"], ["succeeded"])
    assert events[-1][1]["output"] == 42


def test_sigterm_ends_streams_and_answers_waiters(
    rows: Rows, servers: Servers, account: Account, spell: str, folder: Path
) -> None:
    with run_api(rows.url, servers.redis_url, folder) as alone, ThreadPoolExecutor(2) as threads:
        cast_id = alone.http.post("/v1/casts", json={"spell": spell}, headers=account.headers).json()["id"]
        waiting = threads.submit(alone.http.post, "/v1/cast", json={"spell": spell}, headers=account.headers)
        with alone.http.stream("GET", f"/v1/casts/{cast_id}/events", headers=account.headers) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry: ")
            time.sleep(0.3)  # so that the other request waits, too
            began = time.monotonic()
            threads.submit(alone.stop)
            rest = list(lines)
        assert waiting.result().status_code == 202
        assert alone.process.wait(timeout=60) == 0
        assert time.monotonic() - began < 5
        assert any(line == "event: queued" for line in rest)
