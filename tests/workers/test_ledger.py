"""The ledger between a real stream and a real database: what is acknowledged was settled, what fails comes again."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from redis.asyncio import Redis

from domain.model.limits import INLINE_BYTES_MAX
from domain.model.messages import CastJob, Outcome, UsageEvent
from domain.model.messages import Pool as WorkerPool
from domain.store import usage
from domain.store.casts import casts_by_id
from domain.store.connection import Pool, Role, StoreError, open_pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TOKEN_KEY, World, make_world
from tests.workers.woken import wake_ids
from workers import keys
from workers.broker import wire
from workers.broker.async_link import open_redis
from workers.broker.bundle import bundled
from workers.broker.usage import BATCH_COUNT_MAX
from workers.broker.waking import row_in
from workers.ledger import WINDOW_S_MAX, Ledger, count_usage, window_after


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    world: World
    pool: Pool
    redis: Redis

    def ledger(self) -> Ledger:
        return Ledger(self.pool, self.redis, WorkerPool.DEFAULT, token_key=TOKEN_KEY, name=uuid4().hex)

    async def cast(self, count: int = 1) -> list[CastJob]:
        """Accept casts, put them on the wire and take their job entries off, as a worker would."""
        accepted = await accept(self.world, self.pool, *[self.world.spec()] * count)
        await wire.put(self.redis, "default", accepted)
        await self.redis.delete(keys.jobs("default"))
        return accepted

    async def report(self, *events: UsageEvent) -> None:
        """Add events as one flush of a worker does: several share an entry."""
        for command in bundled(keys.usage("default"), [msgspec.msgpack.encode(event) for event in events]):
            await self.redis.execute_command(*command)

    async def sizes(self) -> dict[str, int]:
        """Return how long the usage stream, the parked stream and the open set are."""
        return {
            "usage": await self.redis.xlen(keys.usage("default")),
            "parked": await self.redis.xlen(keys.usage_dead("default")),
            "open": await _count(self.redis.scard(keys.open_set("default"))),
        }


async def _count(answer: Any) -> int:
    return await answer


@pytest.fixture
async def setting(database_url: str, redis_url: str) -> AsyncGenerator[Setting]:
    world = await make_world(database_url)
    async with open_redis(redis_url) as redis, open_pool(database_url, role=Role.ENGINE, size_max=3) as pool:
        yield Setting(world=world, pool=pool, redis=redis)


async def test_a_batch_is_settled_acknowledged_and_its_waiters_are_woken(setting: Setting) -> None:
    accepted = await setting.cast(3)
    async with setting.redis.pubsub() as listener:
        await listener.subscribe(keys.wake_channel())
        await setting.report(*(event_of(job) for job in accepted))
        assert await setting.ledger().run_once() == 3
        woken: list[UUID] = []
        async with asyncio.timeout(120):
            while len(woken) < 3:
                message = await listener.get_message(ignore_subscribe_messages=True, timeout=60)
                woken += wake_ids(message["data"]) if message else []
    assert sorted(woken) == [job.cast_id for job in accepted]
    assert await setting.sizes() == {"usage": 0, "parked": 0, "open": 0}
    assert await broken(setting.world.database_url) == {}


@pytest.mark.parametrize(
    ("casts", "output_bytes", "rows_told"),
    [
        pytest.param(1, 2, 1, id="a lone one"),
        pytest.param(1, INLINE_BYTES_MAX, 1, id="as long as may be"),
        pytest.param(1, INLINE_BYTES_MAX + 1, 0, id="a long one"),
        pytest.param(2, 2, 0, id="a batch"),
    ],
)
async def test_the_row_of_a_lone_short_cast_is_told_as_it_is_stored(
    setting: Setting, casts: int, output_bytes: int, rows_told: int
) -> None:
    accepted = await setting.cast(casts)
    async with setting.redis.pubsub() as listener:
        await listener.subscribe(keys.wake_channel())
        await setting.report(*(event_of(job, output=b"x" * output_bytes) for job in accepted))
        await setting.ledger().run_once()
        async with asyncio.timeout(120):
            while (message := await listener.get_message(ignore_subscribe_messages=True, timeout=60)) is None:
                pass
    ids = [job.cast_id for job in accepted]
    async with transaction(setting.pool) as connection:
        stored = await casts_by_id(connection, ids=ids)
    said = message["data"]
    assert row_in(said, key=TOKEN_KEY) == (stored[ids[0]] if rows_told else None)
    assert stored[ids[0]].is_final
    assert sorted(wake_ids(said[: 16 * casts])) == sorted(ids)
    assert row_in(said, key=b"a worker's guess") is None


async def test_forged_events_are_parked_and_the_true_one_still_settles(setting: Setting) -> None:
    (job,) = await setting.cast()
    true = event_of(job)
    forged = [
        msgspec.structs.replace(true, token=b"0" * 16),
        msgspec.structs.replace(true, cast_id=UUID(int=5)),
        msgspec.structs.replace(true, fuel=10**12),
    ]
    await setting.report(*forged)
    await setting.redis.xadd(keys.usage("default"), {"e": b"\xff\x00 no msgpack"})
    ledger = setting.ledger()
    assert await ledger.run_once() == 4
    assert await setting.sizes() == {"usage": 0, "parked": 4, "open": 1}
    assert await setting.world.rows("SELECT status, cost_micros FROM casts") == [("queued", None)]
    await setting.report(true)
    await ledger.run_once()
    assert await setting.world.rows("SELECT status, cost_micros FROM casts") == [("succeeded", 1_002)]
    assert await broken(setting.world.database_url) == {}


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param({"exit_code": 2**40}, id="no integer"),
        pytest.param({"cpu_us": 2**63}, id="no bigint"),
        pytest.param({"wall_us": 2**64 - 1}, id="the largest there is"),
    ],
)
async def test_one_event_postgres_refuses_ends_as_platform_error_and_its_neighbours_settle(
    setting: Setting, claim: dict[str, int]
) -> None:
    accepted = await setting.cast(9)
    events = [event_of(job) for job in accepted]
    # Nothing before Postgres bounds what a worker claims.
    events[4] = msgspec.structs.replace(event_of(accepted[4], Outcome.EXIT_NONZERO, exit_code=1), **claim)
    await setting.report(*events)
    await setting.ledger().run_once()
    rows = await setting.world.rows("SELECT status, error_code, cost_micros FROM casts ORDER BY id")
    assert rows[4] == ("failed", "platform_error", 0)
    assert [row[0] for row in rows].count("succeeded") == 8
    assert await setting.sizes() == {"usage": 0, "parked": 1, "open": 0}
    assert await broken(setting.world.database_url) == {}


async def test_an_account_somebody_holds_is_settled_later_and_stops_no_other(setting: Setting) -> None:
    (mine,) = await setting.cast()
    other = await make_world(setting.world.database_url)
    (theirs,) = await accept(other, setting.pool)
    await setting.report(event_of(mine), event_of(theirs))
    ledger = setting.ledger()
    async with await psycopg.AsyncConnection.connect(setting.world.database_url) as holder:
        await holder.execute("SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", (setting.world.account_id,))
        await ledger.run_once()
        assert await other.rows("SELECT status FROM casts ORDER BY id") == [("queued",), ("succeeded",)]
        assert await setting.sizes() == {"usage": 1, "parked": 0, "open": 1}
        await holder.rollback()
    await ledger.run_once()
    assert await setting.sizes() == {"usage": 0, "parked": 0, "open": 0}
    assert await other.rows("SELECT status FROM casts ORDER BY id") == [("succeeded",), ("succeeded",)]
    assert await broken(setting.world.database_url) == {}


async def test_a_ledger_that_died_after_commit_leaves_strays_and_no_second_charge(setting: Setting) -> None:
    (job,) = await setting.cast()
    await setting.report(event_of(job))
    dying = setting.ledger()

    async def die(*_: object) -> None:
        raise ConnectionResetError

    dying._reader.finish = die  # type: ignore[method-assign] # the crash point between COMMIT and acknowledgement
    with pytest.raises(ConnectionResetError):
        await dying.run_once()
    assert await setting.world.rows("SELECT status, cost_micros FROM casts") == [("succeeded", 1_002)]
    heir = Ledger(setting.pool, setting.redis, WorkerPool.DEFAULT, token_key=TOKEN_KEY, name="heir")
    heir._reader._claim_idle_ms = 0
    assert await heir.run_once() == 1
    assert await setting.sizes() == {"usage": 0, "parked": 0, "open": 0}
    assert await setting.world.rows("SELECT count(*) FROM usage_strays") == [(1,)]
    assert await broken(setting.world.database_url) == {}


async def test_what_was_read_while_postgres_is_away_is_kept_and_settled_after(setting: Setting) -> None:
    (job,) = await setting.cast()
    await setting.report(event_of(job))
    ledger = setting.ledger()
    live, ledger._pool = ledger._pool, open_pool("postgresql://127.0.0.1:1/none", role=Role.ENGINE, size_max=1)
    with pytest.raises(StoreError):
        await ledger.run_once()
    ledger._pool = live
    assert await ledger.run_once() == 1
    assert await setting.sizes() == {"usage": 0, "parked": 0, "open": 0}


async def test_usage_is_counted_until_none_is_left_also_after_postgres_was_away(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "COUNTED_BATCHES_MAX", 1)
    monkeypatch.setattr("workers.ledger.COUNT_EVERY_S", 0.01)
    stop = asyncio.Event()
    gone = open_pool("postgresql://127.0.0.1:1/none", role=Role.ENGINE, size_max=1)
    for job in await setting.cast(3):
        await setting.report(event_of(job))
        await setting.ledger().run_once()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for pool in (gone, setting.pool):
            group.create_task(count_usage(pool, stop))
        while await setting.world.rows("SELECT cast_ids FROM usage_uncounted"):
            assert await broken(setting.world.database_url) == {}
        stop.set()
    counted = "SELECT casts FROM usage_counters WHERE dimension = 'account'"
    assert await setting.world.rows(counted) == [(3,)]


async def test_the_place_of_a_settled_cast_goes_to_one_that_waits(setting: Setting) -> None:
    accepted = await accept(setting.world, setting.pool, *[setting.world.spec()] * 258)
    await wire.put(setting.redis, "default", accepted[:256])
    await setting.report(event_of(accepted[0]))
    await setting.ledger().run_once()
    assert await wire.missing(setting.redis, "default", [accepted[256].cast_id, accepted[257].cast_id]) == [
        accepted[257].cast_id
    ]


async def test_what_is_other_under_the_locks_than_before_is_settled_at_the_second_attempt(setting: Setting) -> None:
    budget = await setting.world.add_budget(10**9)
    await setting.world.rows("UPDATE budgets SET soft_limit_micros = 1, notify = true WHERE id = %s", budget)
    (job,) = await setting.cast()
    await setting.report(event_of(job))
    assert await setting.ledger().run_once() == 1
    assert await setting.sizes() == {"usage": 0, "parked": 0, "open": 0}
    assert await setting.world.rows("SELECT notified_percent FROM budget_windows") == [(100,)]
    assert await broken(setting.world.database_url) == {}


def test_the_more_came_last_the_longer_the_next_batch_gathers_up_to_a_bound() -> None:
    assert [window_after(events) for events in (0, 1)] == [0.0, 0.0], "who waits for one cast does not wait for others"
    assert window_after(2) < window_after(10) < window_after(200) == WINDOW_S_MAX
    assert window_after(BATCH_COUNT_MAX) == 0.0, "a backlog does not wait"
