"""The clock's jobs against real servers: what they do, that twice does no more, and that a slot is run once."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain.flow import drop_data
from domain.flow.settle import settle
from domain.model.messages import Outcome, UsageEvent
from domain.store import usage
from domain.store.connection import Pool, Role, UnavailableError, open_pool, statement, transaction
from scheduler import jobs
from scheduler.jobs import Clockwork
from scheduler.loop import JOBS, Job, Scheduler
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.receivers import give_mail, subscribe, told
from tests.domain.world import TOKEN_KEY, World, make_world
from workers.broker import wire
from workers.broker.async_link import open_redis


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def clockwork(database_url: str, redis_url: str) -> AsyncGenerator[Clockwork]:
    async with (
        open_redis(redis_url) as redis,
        open_pool(database_url, role=Role.ENGINE, size_max=4) as pool,
        open_pool(database_url, role=Role.ENGINE, size_max=1, statement_timeout_ms=60_000) as slow_pool,
    ):
        yield Clockwork(pool=pool, slow_pool=slow_pool, redis=redis, token_key=TOKEN_KEY)


@pytest.fixture
def pool(clockwork: Clockwork) -> Pool:
    return clockwork.pool


async def settle_one(pool: Pool, event: UsageEvent) -> None:
    async with transaction(pool) as connection:
        await settle(connection, [event], batch_id=uuid4(), token_key=TOKEN_KEY)


async def test_resend_puts_back_what_a_flushed_redis_lost_and_adds_nothing_twice(
    world: World, clockwork: Clockwork
) -> None:
    accepted = await accept(world, clockwork.pool, *[world.spec()] * 5)
    await wire.put(clockwork.redis, "default", accepted)
    later = datetime.now(UTC) + timedelta(seconds=3)
    assert await jobs.resend(clockwork, later) == "0 casts resent"
    await clockwork.redis.flushall()
    assert await jobs.resend(clockwork, later) == "5 casts resent"
    assert await jobs.resend(clockwork, later) == "0 casts resent"
    state = await wire.wire_state(clockwork.redis, "default")
    assert state.casts_open == 5


async def test_resend_leaves_alone_what_was_accepted_a_moment_ago(world: World, clockwork: Clockwork) -> None:
    await accept(world, clockwork.pool)
    assert await jobs.resend(clockwork, datetime.now(UTC)) == "0 casts resent"


async def test_expire_waits_for_a_ledger_that_is_behind(
    world: World, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = await accept(world, clockwork.pool)
    late = datetime.fromtimestamp(job.deadline_ms / 1000, tz=UTC) + timedelta(minutes=3)
    monkeypatch.setattr(jobs, "USAGE_CURRENT_MAX", -1)
    assert "not now" in await jobs.expire(clockwork, late)
    monkeypatch.undo()
    assert await jobs.expire(clockwork, late) == "1 casts expired"
    assert await jobs.expire(clockwork, late) == "0 casts expired"
    assert await broken(world.database_url) == {}


async def test_a_spell_that_keeps_killing_its_sandbox_is_suspended_once(world: World, clockwork: Clockwork) -> None:
    endpoint = await subscribe(clockwork.pool, world.creator_id, "spell.*")
    await give_mail(world, world.creator_id, "creator@example.com")
    accepted = await accept(world, clockwork.pool, *[world.spec()] * 5)
    for job in accepted[:4]:
        await settle_one(clockwork.pool, event_of(job, Outcome.POISON))
    assert await jobs.suspend_crashing(clockwork, datetime.now(UTC)) == "0 spells suspended"
    await settle_one(clockwork.pool, event_of(accepted[4], Outcome.SANDBOX_CRASHED))
    assert await jobs.suspend_crashing(clockwork, datetime.now(UTC)) == "1 spells suspended"
    assert await jobs.suspend_crashing(clockwork, datetime.now(UTC)) == "0 spells suspended"
    mail, webhook = await told(world)
    assert (mail.target, webhook.endpoint_id) == ("creator@example.com", endpoint)
    assert {mail.event_type, webhook.event_type} == {"spell.suspended"}
    assert webhook.payload is not None
    assert (webhook.payload["spell_id"], webhook.payload["reason"]) == (
        str(world.spell_id),
        "its casts keep killing their sandboxes",
    )


async def test_reconcile_reports_a_difference_and_mends_nothing(world: World, clockwork: Clockwork) -> None:
    (job,) = await accept(world, clockwork.pool)
    await settle_one(clockwork.pool, event_of(job))
    assert await jobs.reconcile(clockwork, datetime.now(UTC)) == "balanced"
    async with statement(clockwork.pool) as connection:
        assert await usage.count(connection) == 1
    assert await jobs.reconcile(clockwork, datetime.now(UTC)) == "balanced"
    await world.rows("UPDATE usage_counters SET cost_micros = cost_micros + 1 WHERE dimension = 'account'")
    assert await jobs.reconcile(clockwork, datetime.now(UTC)) == "1 rows differ"
    assert await jobs.reconcile(clockwork, datetime.now(UTC)) == "1 rows differ"
    assert await world.rows("SELECT balanced FROM reconciliation_reports ORDER BY id") == [
        (True,),
        (True,),
        (False,),
        (False,),
    ]


async def test_measure_sees_a_hold_without_a_cast(world: World, clockwork: Clockwork) -> None:
    await accept(world, clockwork.pool)
    assert await jobs.measure(clockwork, datetime.now(UTC)) == "1 casts open"
    assert jobs.DRIFT._value.get() == 0
    await world.rows("UPDATE account_months SET held_micros = held_micros + 7")
    await jobs.measure(clockwork, datetime.now(UTC))
    assert jobs.DRIFT._value.get() == 7


async def test_partitions_reach_three_months_ahead(clockwork: Clockwork) -> None:
    now = datetime.now(UTC)
    assert await jobs.partitions(clockwork, now) == "0 partitions made"
    assert await jobs.partitions(clockwork, now + timedelta(days=31)) == "2 partitions made"


async def test_trim_keeps_the_replays_that_were_promised(world: World, clockwork: Clockwork) -> None:
    await accept(world, clockwork.pool, key="young")
    assert "0 idempotency keys" in await jobs.trim(clockwork, datetime.now(UTC) + timedelta(hours=47))
    assert "1 idempotency keys" in await jobs.trim(clockwork, datetime.now(UTC) + timedelta(hours=49))


async def test_deliveries_are_kept_for_thirty_days_after_their_end(
    world: World, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "TRIM_AT_ONCE_MAX", 2)
    now = datetime.now(UTC)
    ends = [now - timedelta(days=29), *[now - timedelta(days=30, minutes=1)] * 5, None]
    for end in ends:
        delivery_id = uuid4()
        await world.rows(
            "INSERT INTO outgoing (id, account_id, kind, event_id, event_type, target, payload, created_at,"
            " next_attempt_at, status, finished_at) VALUES (%s, %s, 'webhook', %s, 'webhook.test', 'https://a.example',"
            " '1', %s, %s, %s, %s)",
            *(delivery_id, world.account_id, uuid4(), now - timedelta(days=90), now - timedelta(days=90)),
            *("pending" if end is None else "failed", end),
        )
        await world.rows(
            "INSERT INTO outgoing_attempts VALUES (%s, 1, %s, now(), 1, '{}', NULL, NULL, 'no answer')",
            *(delivery_id, world.account_id),
        )
    assert await jobs.trim_outgoing(clockwork, now) == "5 deliveries deleted"
    assert await jobs.trim_outgoing(clockwork, now) == "0 deliveries deleted"
    assert await world.rows("SELECT status FROM outgoing ORDER BY status") == [("failed",), ("pending",)]
    assert await world.rows("SELECT count(*) FROM outgoing_attempts") == [(2,)]


async def test_of_ten_schedulers_one_runs_each_slot(clockwork: Clockwork) -> None:
    ran: list[datetime] = []

    async def count(_: Clockwork, now: datetime) -> str:
        ran.append(now)
        return "counted"

    job = Job(name="count", every=timedelta(hours=1), run=count)
    schedulers = [Scheduler(clockwork, [job]) for _ in range(10)]
    now = datetime.now(UTC)
    results = await asyncio.gather(*(scheduler.run_once(job, now) for scheduler in schedulers))
    assert sum(results) == len(ran) == 1
    assert sum([await scheduler.run_once(job, now + timedelta(hours=1)) for scheduler in schedulers]) == 1


async def test_a_run_that_failed_is_made_again_after_its_lease(world: World, clockwork: Clockwork) -> None:
    outcomes: list[str | Exception] = [UnavailableError("Postgres is away"), "done", "too much"]

    async def fail_once(_: Clockwork, __: datetime) -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    job = Job(name="daily", every=timedelta(days=1), run=fail_once)
    scheduler = Scheduler(clockwork, [job])
    now = datetime.now(UTC)
    with pytest.raises(UnavailableError):
        await scheduler.run_once(job, now)
    assert await scheduler.run_once(job, now) == 0
    later = Scheduler(clockwork, [job], lease=timedelta(0))
    assert [await later.run_once(job, now) for _ in range(3)] == [1, 0, 0]
    assert await world.rows("SELECT result FROM scheduled_runs WHERE job = 'daily'") == [("done",)]


async def test_every_job_runs_on_an_empty_platform(clockwork: Clockwork) -> None:
    scheduler = Scheduler(clockwork)
    assert [await scheduler.run_once(job) for job in JOBS] == [1] * len(JOBS)


async def test_a_cancel_lost_with_redis_is_put_up_again(world: World, clockwork: Clockwork) -> None:
    (job,) = await accept(world, clockwork.pool)
    await world.rows("UPDATE casts SET cancel_requested = true, status = 'running' WHERE id = %s", job.cast_id)
    await jobs.resend(clockwork, datetime.now(UTC) + timedelta(seconds=3))
    members = await clockwork.redis.smembers("{default:0}:canceled")
    assert members == {job.cast_id.bytes}


async def test_a_cancel_whose_api_died_before_it_told_the_workers_is_told_by_resend(
    world: World, clockwork: Clockwork
) -> None:
    stopped, other = await accept(world, clockwork.pool, *[world.spec()] * 2)
    await wire.put(clockwork.redis, "default", [stopped, other])
    await world.rows("UPDATE casts SET cancel_requested = true, status = 'running' WHERE id = %s", stopped.cast_id)
    later = datetime.now(UTC) + timedelta(seconds=3)
    assert [await jobs.resend(clockwork, later) for _ in range(2)] == ["0 casts resent"] * 2
    assert await clockwork.redis.smembers("{default:0}:canceled") == {stopped.cast_id.bytes}


async def test_retention_goes_on_until_nothing_expired_is_left(
    world: World, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_data, "DROP_AT_ONCE_MAX", 2)
    for job in await accept(world, clockwork.pool, *[world.spec()] * 5):
        await settle_one(clockwork.pool, event_of(job))
    now = datetime.now(UTC)
    assert await jobs.retention(clockwork, now + timedelta(days=29)) == "data of 0 casts dropped"
    assert await jobs.retention(clockwork, now + timedelta(days=31)) == "data of 5 casts dropped"
    assert await jobs.retention(clockwork, now + timedelta(days=31)) == "data of 0 casts dropped"
