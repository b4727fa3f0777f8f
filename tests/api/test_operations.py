"""Health, metrics, logs and the operator's routes."""

import time
import tomllib
from collections.abc import Iterator
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
import redis

from api.__main__ import GRACEFUL_SHUTDOWN_S
from api.casts.request import CastBody
from domain.model.cast_view import CastView, CostView, UrlsView, UsageView
from domain.model.limits import CastLimits
from domain.model.messages import CastJob
from local.servers import Servers
from tests.api.platform import ADMIN_SECRET, REPOSITORY, Account, Api, Rows
from workers import keys
from workers.broker.wire import encode_message

ADMIN = {"x-admin-secret": ADMIN_SECRET}


@pytest.fixture
def spell(rows: Rows, account: Account) -> str:
    return rows.spell(account, "echo")


@pytest.fixture
def wire(servers: Servers) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(servers.redis_url) as client:
        yield client


def test_the_server_gives_up_on_connections_before_the_host_kills_it() -> None:
    fly = tomllib.loads((REPOSITORY / "fly.toml").read_text())
    assert fly["kill_timeout"] > GRACEFUL_SHUTDOWN_S


def test_readyz_names_what_it_looked_at(api: Api) -> None:
    answer = api.http.get("/readyz")
    assert answer.status_code == 200
    checks = answer.json()["checks"]
    assert set(checks) == {"serving", "postgres", "migrations", "partitions", "redis", "redis_noeviction"}
    assert all(check["ok"] for check in checks.values())


def test_readyz_fails_without_next_months_partition(api: Api, rows: Rows) -> None:
    month = rows.execute("SELECT to_char(now() + interval '1 month', 'YYYY_MM')")[0][0]
    rows.execute(f"ALTER TABLE casts_{month} RENAME TO casts_gone")
    try:
        answer = api.http.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["partitions"]["ok"]) == (503, False)
        assert answer.headers["retry-after"] == "1"
    finally:
        rows.execute(f"ALTER TABLE casts_gone RENAME TO casts_{month}")


def test_readyz_fails_while_a_migration_is_missing(api: Api, rows: Rows) -> None:
    with psycopg.connect(rows.url, autocommit=True) as owner:
        owner.execute("CREATE TABLE kept AS SELECT * FROM schema_migrations")
        owner.execute("DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)")
        try:
            answer = api.http.get("/readyz")
            assert (answer.status_code, answer.json()["checks"]["migrations"]["ok"]) == (503, False)
        finally:
            owner.execute("INSERT INTO schema_migrations SELECT * FROM kept ON CONFLICT DO NOTHING")
            owner.execute("DROP TABLE kept")


def test_readyz_fails_when_redis_would_evict_casts(api: Api, wire: redis.Redis) -> None:
    wire.config_set("maxmemory-policy", "allkeys-lru")
    try:
        answer = api.http.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["redis_noeviction"]["ok"]) == (503, False)
    finally:
        wire.config_set("maxmemory-policy", "noeviction")


def test_readyz_shows_what_workers_say_of_engine_and_jail(api: Api, wire: redis.Redis) -> None:
    now_ms = int(time.time() * 1000)
    wire.zadd(keys.workers("default"), {"w1": now_ms})
    wire.hset(keys.worker_facts("default"), "w1", msgspec.json.encode({"engine": "50.0.0", "jail": {"seccomp": True}}))
    (worker,) = api.http.get("/readyz").json()["workers"]["default"]
    assert worker == {"name": "w1", "engine": "50.0.0", "jail": {"seccomp": True}}
    wire.delete(keys.workers("default"))


def test_metrics_count_what_happened(api: Api, rows: Rows, account: Account, spell: str) -> None:
    def value(name: str) -> float:
        """Return the sum over all labels."""
        lines = api.http.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    before = {
        name: value(name) for name in ("spell_cast_total", "spell_budget_blocked_total", "spell_rate_limited_total")
    }
    slow = rows.key(account.id, account.handle, rpm=1)
    for _ in range(2):
        api.http.post("/v1/casts", json={"spell": spell}, headers=slow.headers)
    rows.budget(account, 1)
    api.http.post("/v1/casts", json={"spell": spell}, headers=account.headers)
    after = {name: value(name) for name in before}
    assert {name: after[name] - before[name] for name in before} == dict.fromkeys(before, 1.0)
    text = api.http.get("/metrics").text
    for name in (
        'spell_rate_limited_total{kind="key"}',
        "spell_cast_failed_total",
        "spell_cast_duration_seconds_bucket",
        "spell_stripe_webhook_total",
        "spell_db_pool_in_use",
        "spell_redis_errors_total",
        "spell_queue_depth",
        "spell_ledger_lag_events",
        "spell_open_holds",
        "spell_holds_drift_micros",
    ):
        assert name in text


def test_the_log_has_a_json_line_a_request_with_ids_and_no_secret(api: Api, account: Account, spell: str) -> None:
    secret_input = f"canary-{uuid4().hex}"
    body = {"spell": spell, "input": secret_input, "metadata": {"m": secret_input}}
    answer = api.http.post(
        "/v1/casts?token=canary-query", json=body, headers={**account.headers, "x-request-id": "req-9"}
    )
    refused = {"spell": spell, "oops": secret_input}
    api.http.post("/v1/casts", json=refused, headers={**account.headers, "x-request-id": "req-10"})
    api.logged(lambda line: line.get("request_id") == "req-10")
    line = api.logged(lambda line: line.get("request_id") == "req-9")
    assert (line["status"], line["path"], line["method"]) == (202, "/v1/casts", "POST")
    assert line["cast_ids"] == [answer.json()["id"]]
    assert line["account_id"] == str(account.id)
    whole = api.log_path.read_text()
    assert account.key not in whole
    assert "canary" not in whole


def test_holds_are_listed_and_add_up(api: Api, account: Account, spell: str) -> None:
    cast_id = api.http.post("/v1/casts", json={"spell": spell}, headers=account.headers).json()["id"]
    holds = api.http.get("/admin/holds?limit=1000", headers=ADMIN).json()
    (mine,) = [hold for hold in holds["data"] if hold["id"] == cast_id]
    assert (mine["handle"], mine["held_micros"]) == (account.handle, 2_500)
    assert holds["total"]["casts_held_micros"] > 0
    balance = api.http.get("/admin/ledger/trial-balance", headers=ADMIN).json()
    assert balance["sum_micros"] == 0
    queues = api.http.get("/admin/queues", headers=ADMIN).json()["data"]
    assert [queue["pool"] for queue in queues] == ["default", "large"]
    assert queues[0]["jobs"] >= 1


def bury(wire: redis.Redis, cast_id: str) -> str:
    job = CastJob(
        cast_id=UUID(cast_id), token=b"", digest=b"", limits=CastLimits(), input=b"1", accepted_ms=0, deadline_ms=1
    )
    entry = wire.xadd(keys.dead("default"), {"m": encode_message("default", job), "r": "poison"})
    assert isinstance(entry, bytes)
    return entry.decode()


def test_a_dead_letter_is_cast_once_more_with_a_new_hold_or_dropped(
    api: Api, rows: Rows, wire: redis.Redis, account: Account, spell: str
) -> None:
    body = {"spell": spell, "input": {"n": 7}, "metadata": {"order": "1"}, "webhook_url": "https://example.com/told"}
    first = api.http.post("/v1/casts", json=body, headers=account.headers).json()["id"]
    letter, other, garbage = (
        bury(wire, first),
        bury(wire, first),
        wire.xadd(keys.dead("default"), {"m": b"?", "r": "undecodable"}),
    )
    listed = {one["id"]: one for one in api.http.get("/admin/dead-letters", headers=ADMIN).json()["data"]}
    assert (listed[letter]["cast_id"], listed[letter]["reason"]) == (first, "poison")
    assert listed[garbage.decode()]["cast_id"] is None

    requeued = api.http.post(f"/admin/dead-letters/default/{letter}/requeue", headers=ADMIN)
    assert requeued.status_code == 200, requeued.text
    again = requeued.json()
    assert again["held_micros"] == 2_500
    assert again["cast_id"] != first
    assert api.http.get(f"/v1/casts/{again['cast_id']}", headers=account.headers).json()["metadata"] == {"order": "1"}
    told = rows.execute("SELECT webhook_url FROM casts WHERE id = %(id)s", {"id": again["cast_id"]})
    assert told == [("https://example.com/told",)]
    assert api.http.post(f"/admin/dead-letters/default/{letter}/requeue", headers=ADMIN).status_code == 404
    assert api.http.post(f"/admin/dead-letters/default/{garbage.decode()}/requeue", headers=ADMIN).status_code == 409
    assert api.http.delete(f"/admin/dead-letters/default/{other}", headers=ADMIN).status_code == 204
    assert api.http.delete(f"/admin/dead-letters/nowhere/{other}", headers=ADMIN).status_code == 404


def test_openapi_says_what_the_decoders_accept(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    derived = msgspec.json.schema_components([CastBody], ref_template="#/components/schemas/{name}")[1]
    by_hand = document["components"]["schemas"]
    for struct, name in (("CastBody", "CastRequest"), ("LimitsAsked", "CastLimitsRequest")):
        assert set(by_hand[name]["properties"]) == set(derived[struct]["properties"]), name
        assert by_hand[name].get("required", []) == derived[struct].get("required", [])
        assert by_hand[name]["additionalProperties"] is derived[struct]["additionalProperties"] is False
        for field, schema in derived[struct]["properties"].items():
            assert _numbers(by_hand[name]["properties"][field]) == _numbers(schema), field
    for view, name in ((CastView, "Cast"), (CostView, "cost"), (UsageView, "usage"), (UrlsView, "urls")):
        properties = by_hand["Cast"]["properties"]
        described = properties if name == "Cast" else properties[name]["properties"]
        assert tuple(described) == view.__struct_fields__
    shown = api.http.get("/docs")
    assert "rapi-doc" in shown.text
    assert "http" not in shown.text.replace("http-equiv", "")


def _numbers(schema: object) -> dict[str, object]:
    """Return every bound anywhere in a schema."""
    found: dict[str, object] = {}
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in {"minimum", "maximum", "minLength", "maxLength"}:
                found[key] = value
            else:
                found |= _numbers(value)
    elif isinstance(schema, list):
        for part in schema:
            found |= _numbers(part)
    return found
