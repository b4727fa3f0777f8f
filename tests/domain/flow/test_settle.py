from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from domain.flow.cancel import cancel
from domain.flow.expire import expire
from domain.flow.resend import Meant, jobs, meant_for_wire
from domain.flow.settle import Settled, settle
from domain.model.messages import Outcome, UsageEvent
from domain.model.messages import Pool as WorkerPool
from domain.store.connection import Pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import HOLD, TOKEN_KEY, World


async def run_settle(pool: Pool, *events: UsageEvent) -> Settled:
    async with transaction(pool) as connection:
        return await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)


async def test_a_cast_ends_once_and_costs_what_it_used(world: World, pool: Pool) -> None:
    budget = await world.add_budget(100_000)
    (job,) = await accept(world, pool)
    settled = await run_settle(pool, event_of(job))
    assert [ending.charge.cost_micros for ending in settled.endings] == [1_002]
    assert await world.window(budget) == (1_002, 0)
    row = (await world.rows("SELECT status, cost_micros, output, exit_code FROM casts"))[0]
    assert row == ("succeeded", 1_002, b'{"words":3}', 0)
    assert await broken(world.database_url) == {}
    again = await run_settle(pool, event_of(job), event_of(job, Outcome.TRAP))
    assert again.endings == []
    assert len(again.strays) == 2
    assert await world.window(budget) == (1_002, 0)
    assert await broken(world.database_url) == {}


async def test_two_events_for_one_cast_in_one_batch_settle_the_first(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    settled = await run_settle(pool, event_of(job), event_of(job, Outcome.TRAP))
    assert [ending.outcome for ending in settled.endings] == [Outcome.SUCCEEDED]
    assert len(settled.strays) == 1
    assert await broken(world.database_url) == {}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"token": b"x" * 16}, "token"),
        ({"cast_id": UUID(int=7)}, "no such cast"),
        ({"fuel": 10**9 + 1}, "fuel"),
        ({"fuel": -1}, "fuel"),
        ({"output": b"x" * (1024 * 1024 + 1)}, "output"),
        ({"log": b"x" * (64 * 1024 + 1)}, "log"),
        ({"outcome": Outcome.CANCELED}, "cancel"),
        ({"outcome": Outcome.DEADLINE_PASSED}, "deadline"),
        ({"output": None}, "success"),
        ({"cpu_us": -5}, "negative"),
    ],
)
async def test_a_forged_event_is_parked_and_moves_no_money(
    world: World, pool: Pool, fault: dict[str, object], reason: str
) -> None:
    budget = await world.add_budget(100_000)
    (job,) = await accept(world, pool)
    settled = await run_settle(pool, event_of(job, **fault))
    assert len(settled.parked) == 1
    assert reason in settled.parked[0][1]
    assert await world.window(budget) == (0, HOLD)
    assert await broken(world.database_url) == {}


@pytest.mark.parametrize(
    ("outcome", "cost", "creator"),
    [
        (Outcome.SUCCEEDED, 1_002 + 500, 400),
        (Outcome.EXIT_NONZERO, 1_002 + 500, 400),
        (Outcome.TRAP, 1_002, 0),
        (Outcome.MEMORY_EXCEEDED, 1_002, 0),
        (Outcome.SANDBOX_CRASHED, 0, 0),
        (Outcome.POISON, 0, 0),
        (Outcome.PLATFORM_ERROR, 0, 0),
    ],
)
async def test_what_is_due_follows_the_outcome(
    world: World, pool: Pool, outcome: Outcome, cost: int, creator: int
) -> None:
    (job,) = await accept(world, pool, world.spec(creator_price_micros=500))
    await run_settle(pool, event_of(job, outcome))
    assert await world.rows("SELECT cost_micros FROM casts") == [(cost,)]
    share = "SELECT coalesce(sum(amount_micros), 0)::bigint FROM ledger_transfers WHERE credit = %s"
    assert await world.rows(share, f"creator:{world.creator_id}") == [(creator,)]
    assert await broken(world.database_url) == {}


async def test_a_killed_child_costs_the_fee(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    await run_settle(pool, event_of(job, Outcome.WALL_TIME_EXCEEDED, fuel=None))
    assert await world.rows("SELECT cost_micros FROM casts") == [(1_000,)]


async def test_the_places_that_come_free_go_to_the_oldest_waiting(world: World, pool: Pool) -> None:
    jobs_accepted = await accept(world, pool, *[world.spec()] * 300)
    settled = await run_settle(pool, *(event_of(job) for job in jobs_accepted[:10]))
    assert [job.cast_id for _, job in settled.freed] == [job.cast_id for job in jobs_accepted[256:266]]
    assert settled.freed[0][1] == jobs_accepted[256]
    assert await broken(world.database_url) == {}


async def test_cancel_is_free_before_the_start_and_asks_the_worker_after(world: World, pool: Pool) -> None:
    queued, running, foreign = await accept(world, pool, *[world.spec()] * 3)
    await run_settle(pool, event_of(running, None))
    async with transaction(pool) as connection:
        done = await cancel(
            connection, world.account_id, [queued.cast_id, running.cast_id], batch_id=uuid4(), token_key=TOKEN_KEY
        )
        nothing = await cancel(connection, uuid4(), [foreign.cast_id], batch_id=uuid4(), token_key=TOKEN_KEY)
    assert done.canceled == [queued.cast_id]
    assert {cast_id for _, cast_id in done.signals} == {queued.cast_id, running.cast_id}
    assert (nothing.canceled, nothing.signals) == ([], [])
    statuses = await world.rows("SELECT status, cost_micros, cancel_requested FROM casts ORDER BY id")
    assert statuses == [("canceled", 0, False), ("running", None, True), ("queued", None, False)]
    await run_settle(pool, event_of(running, Outcome.CANCELED, output=None, exit_code=None))
    assert (await world.rows("SELECT status, cost_micros FROM casts ORDER BY id"))[1] == ("canceled", 1_002)
    assert await broken(world.database_url) == {}


async def test_expire_ends_only_what_is_past_deadline_and_grace(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    deadline = datetime.fromtimestamp(job.deadline_ms / 1000, tz=UTC)
    async with transaction(pool) as connection:
        early = await expire(connection, now=deadline + timedelta(seconds=119), batch_id=uuid4(), token_key=TOKEN_KEY)
        assert early.endings == ()
        late = await expire(connection, now=deadline + timedelta(seconds=121), batch_id=uuid4(), token_key=TOKEN_KEY)
        again = await expire(connection, now=deadline + timedelta(seconds=121), batch_id=uuid4(), token_key=TOKEN_KEY)
    assert (len(late.endings), len(again.endings)) == (1, 0)
    assert await world.rows("SELECT status, cost_micros, error_code FROM casts") == [("expired", 0, "deadline_passed")]
    assert await broken(world.database_url) == {}


async def test_resend_finds_open_casts_meant_for_the_wire_and_rebuilds_their_jobs(world: World, pool: Pool) -> None:
    accepted = await accept(world, pool, *[world.spec()] * 3)
    await run_settle(pool, event_of(accepted[0]))
    async with transaction(pool) as connection:
        soon = await meant_for_wire(connection, WorkerPool.DEFAULT, now=datetime.now(UTC))
        late = await meant_for_wire(connection, WorkerPool.DEFAULT, now=datetime.now(UTC) + timedelta(seconds=5))
        rebuilt = await jobs(connection, [job.cast_id for job in accepted], token_key=TOKEN_KEY)
    assert soon == Meant(cast_ids=[], stopping=[])
    assert late == Meant(cast_ids=[job.cast_id for job in accepted[1:]], stopping=[])
    assert sorted(rebuilt, key=lambda job: job.cast_id) == accepted[1:]


async def test_credits_pay_in_the_order_they_were_held(world: World, pool: Pool) -> None:
    for priority, micros in ((1, 1_001), (2, 10_000)):
        await world.rows(
            "INSERT INTO credit_grants (id, account_id, priority, granted_micros, balance_micros)"
            " VALUES (%s, %s, %s, %s, %s)",
            uuid4(), world.account_id, priority, micros, micros,
        )  # fmt: skip
    (job,) = await accept(world, pool)
    await run_settle(pool, event_of(job))
    balances = await world.rows("SELECT balance_micros, held_micros FROM credit_grants ORDER BY priority")
    assert balances == [(0, 0), (9_999, 0)]
    assert await broken(world.database_url) == {}
