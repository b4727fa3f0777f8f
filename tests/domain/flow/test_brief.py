"""What leaves with a COMMIT does what it does statement by statement, and nothing when what it finds has changed."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import uuid4

import pytest

from domain.flow.create_budget import NewBudget, create_budget
from domain.flow.reserve import reserve
from domain.flow.settle import Settled, settle, settle_as_read
from domain.model.admission import Accepted, Judged
from domain.model.audit import OPERATOR
from domain.model.ids import ENTROPY_BYTES
from domain.model.jobs import job_of
from domain.model.messages import CastJob, Outcome, UsageEvent
from domain.model.messages import Pool as WorkerPool
from domain.model.periods import Period
from domain.store import settlement
from domain.store.connection import Pool, SerializationError, brief_transaction, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.receivers import start_following, subscribe, told
from tests.domain.world import HOLD, TERMS, TOKEN_KEY, World, make_world

Meanwhile: TypeAlias = Callable[[], Awaitable[None]]

_STATUSES = "SELECT status FROM casts ORDER BY id"


async def accept_briefly(world: World, pool: Pool, entropy: bytes) -> CastJob:
    async with brief_transaction(pool) as connection:
        (verdict,) = await reserve(connection, [world.request(key="once")], TERMS, entropy=entropy)
        assert await world.rows(_STATUSES) == []
    assert isinstance(verdict, Judged)
    (accepted,) = verdict.results
    assert isinstance(accepted, Accepted)
    return job_of(accepted, TOKEN_KEY)


async def settle_briefly(pool: Pool, *events: UsageEvent, meanwhile: Meanwhile | None = None) -> Settled:
    """Settle; `meanwhile` happens between what is read and the COMMIT that locks and writes."""
    async with brief_transaction(pool) as connection:
        settled = await settle_as_read(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
        if meanwhile is not None:
            await meanwhile()
        return settled


async def settle_locked(pool: Pool, *events: UsageEvent) -> Settled:
    async with brief_transaction(pool) as connection:
        return await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)


async def test_a_cast_is_held_and_settled_in_two_exchanges_each(world: World, pool: Pool) -> None:
    await world.add_budget(2 * HOLD)
    job = await accept_briefly(world, pool, bytes(ENTROPY_BYTES))
    assert await broken(world.database_url) == {}
    for ended in (1, 0):  # twice
        settled = await settle_briefly(pool, event_of(job))
        assert (len(settled.endings), len(settled.strays)) == (ended, 1 - ended)
        assert await world.rows(_STATUSES) == [("succeeded",)]
        assert await broken(world.database_url) == {}


async def test_only_windows_of_what_has_ended_are_given_back(world: World, pool: Pool) -> None:
    neighbour = await make_world(world.database_url)
    budgets = [await one.add_budget(2 * HOLD) for one in (world, neighbour)]
    jobs = [job for one in (world, neighbour) for job in await accept(one, pool)]
    await settle_briefly(pool, event_of(jobs[0]))
    assert [await world.window(budget) for budget in budgets] == [(1_002, 0), (0, HOLD)]


async def test_who_is_told_of_a_cast_is_told_by_the_same_commit(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "cast.*")
    await settle_briefly(pool, event_of(*await accept(world, pool)))
    assert [row.event_type for row in await told(world)] == ["cast.succeeded"]


async def test_a_place_that_comes_free_is_given_to_who_waits(world: World, pool: Pool) -> None:
    first, second = await accept(world, pool), await accept(world, pool)
    await world.rows("UPDATE casts SET on_wire = false WHERE id = %s", second[0].cast_id)
    await world.rows("UPDATE accounts SET on_wire_default = 1 WHERE id = %s", world.account_id)
    settled = await settle_briefly(pool, event_of(*first))
    assert [job.cast_id for _, job in settled.freed] == [second[0].cast_id]
    assert await broken(world.database_url) == {}


async def test_a_soft_limit_is_told_of_by_who_looks_again(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    budget = await world.add_budget(10**9)
    await world.rows("UPDATE budgets SET soft_limit_micros = 1, notify = true WHERE id = %s", budget)
    first, second = await accept(world, pool), await accept(world, pool)
    with pytest.raises(SerializationError, match="windows_settle_untold finds other rows"):
        await settle_briefly(pool, event_of(*first))
    assert await world.rows(_STATUSES) == [("queued",), ("queued",)]
    await settle_locked(pool, event_of(*first))
    assert [row.payload["percent"] for row in await told(world)] == [100]
    await settle_briefly(pool, event_of(*second))  # it is told once
    assert len(await told(world)) == 1
    assert await broken(world.database_url) == {}


GONE = "UPDATE budgets SET deleted_at = now() WHERE id = %s"
UNTOLD = "UPDATE budgets SET notify = false WHERE id = %s"
BOUNDLESS = "UPDATE budgets SET soft_limit_micros = NULL WHERE id = %s"
# A soft limit of 100,000: what is spent with the cast, what was told before, what became of the budget; and whether
# there is a share to tell of, so that the settling is done again.
SHARES: dict[str, tuple[int, int, str, bool]] = {
    "a micro less than half": (49_999, 0, "", False),
    "half": (50_000, 0, "", True),
    "half again": (50_000, 50, "", False),
    "a micro less than four fifths": (79_999, 50, "", False),
    "four fifths": (80_000, 50, "", True),
    "four fifths again": (80_000, 80, "", False),
    "a micro less than all": (99_999, 80, "", False),
    "all": (100_000, 80, "", True),
    "all, where nothing was told before": (100_000, 0, "", True),
    "all again": (100_000, 100, "", False),
    "more than all": (200_000, 100, "", False),
    "of a budget that is gone": (100_000, 0, GONE, False),
    "where nobody wants to know": (100_000, 0, UNTOLD, False),
    "of no limit": (100_000, 0, BOUNDLESS, False),
}


@pytest.mark.parametrize("name", SHARES)
async def test_who_settles_looks_again_where_there_is_a_share_to_tell_of(world: World, pool: Pool, name: str) -> None:
    spent, told_before, change, expected = SHARES[name]
    budget = await world.add_budget(10**9)
    await world.rows("UPDATE budgets SET soft_limit_micros = 100000, notify = true WHERE id = %s", budget)
    # Another window of the account has no soft limit: whose limit it is matters.
    await world.add_budget(10**9, period=Period.DAILY)
    (job,) = await accept(world, pool)
    if change:
        await world.rows(change, budget)
    await world.rows(
        "UPDATE budget_windows SET spent_micros = %s, notified_percent = %s WHERE budget_id = %s",
        *(spent - 1_002, told_before, budget),
    )
    if expected:
        with pytest.raises(SerializationError, match="windows_settle_untold finds other rows"):
            await settle_briefly(pool, event_of(job))
        await settle_locked(pool, event_of(job))
    else:
        await settle_briefly(pool, event_of(job))
    after = await world.rows(
        "SELECT notified_percent > %s FROM budget_windows WHERE budget_id = %s", told_before, budget
    )
    assert after == [(expected,)]


async def test_what_costs_nothing_reaches_no_share(world: World, pool: Pool) -> None:
    budget = await world.add_budget(10**9)
    await world.rows("UPDATE budgets SET soft_limit_micros = 0, notify = true WHERE id = %s", budget)
    await settle_briefly(pool, event_of(*await accept(world, pool), Outcome.PLATFORM_ERROR))
    assert await world.window(budget) == (0, 0)


async def test_an_end_where_nobody_waits_is_settled_in_two_exchanges(world: World, pool: Pool) -> None:
    """Believing that somebody does costs round trips and changes nothing else."""
    job, _ = await accept(world, pool, world.spec(), world.spec(pool=WorkerPool.LARGE))
    async with transaction(pool) as connection:
        (held,), _ = await settlement.read(connection, [job.cast_id])
    assert not held.account_waits


async def test_what_the_gate_does_not_return_rolls_everything_back(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)

    async def end_elsewhere() -> None:
        await settle_locked(pool, event_of(job))

    with pytest.raises(SerializationError, match="casts_end finds other rows"):
        await settle_briefly(pool, event_of(job, fuel=0), meanwhile=end_elsewhere)
    assert await world.rows("SELECT status, cost_micros FROM casts") == [("succeeded", 1_002)]
    assert await broken(world.database_url) == {}


async def test_a_budget_that_begins_meanwhile_counts_the_cast(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    budget = NewBudget(
        id=uuid4(), account_id=world.account_id, scope="account", scope_id=world.account_id, period=Period.MONTHLY,
        soft_limit_micros=None, hard_limit_micros=100_000,
    )  # fmt: skip

    async def begin() -> None:
        async with transaction(pool) as connection:
            await create_budget(connection, budget, actor=OPERATOR)

    with pytest.raises(SerializationError, match="casts_end finds other rows"):
        await settle_briefly(pool, event_of(job), meanwhile=begin)
    assert await world.window(budget.id) == (0, HOLD)
    await settle_briefly(pool, event_of(job))
    assert await world.window(budget.id) == (1_002, 0)
    assert await broken(world.database_url) == {}


async def test_who_begins_to_listen_meanwhile_hears_of_the_cast(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)

    async def listen() -> None:
        await start_following(pool, world.account_id)

    with pytest.raises(SerializationError, match="accounts_close finds other rows"):
        await settle_briefly(pool, event_of(job), meanwhile=listen)
    await settle_briefly(pool, event_of(job))
    assert [row.event_type for row in await told(world)] == ["cast.succeeded"]


async def test_data_is_kept_as_the_account_says_when_the_cast_ends(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)

    async def keep_nothing() -> None:
        await world.rows("UPDATE accounts SET data_days = 0 WHERE id = %s", world.account_id)

    with pytest.raises(SerializationError, match="accounts_close finds other rows"):
        await settle_briefly(pool, event_of(job), meanwhile=keep_nothing)
    await settle_briefly(pool, event_of(job))
    assert await world.rows("SELECT data_once FROM casts") == [(True,)]


async def test_a_cast_that_begins_to_wait_meanwhile_is_given_the_place(world: World, pool: Pool) -> None:
    (first,) = await accept(world, pool)

    async def begin_to_wait() -> None:
        (second,) = await accept(world, pool)
        await world.rows("UPDATE casts SET on_wire = false WHERE id = %s", second.cast_id)
        await world.rows("UPDATE accounts SET on_wire_default = 1 WHERE id = %s", world.account_id)

    with pytest.raises(SerializationError, match="accounts_close finds other rows"):
        await settle_briefly(pool, event_of(first), meanwhile=begin_to_wait)
    assert len((await settle_locked(pool, event_of(first))).freed) == 1
    assert await broken(world.database_url) == {}


async def test_what_begins_and_what_comes_late_leaves_with_the_commit(world: World, pool: Pool) -> None:
    (going,), (done,) = await accept(world, pool), await accept(world, pool)
    await settle_locked(pool, event_of(done))
    settled = await settle_briefly(pool, event_of(going, None, started_ms=1), event_of(done))
    assert (len(settled.started), len(settled.strays)) == (1, 1)
    assert await world.rows(_STATUSES) == [("running",), ("succeeded",)]
    assert await world.rows("SELECT cast_id FROM usage_strays") == [(done.cast_id,)]
