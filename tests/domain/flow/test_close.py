"""The gate and what hangs on it: asked twice, asked late, asked under a newer price."""

from uuid import uuid4

from domain.flow.close import close
from domain.flow.settle import Settled, settle
from domain.model.messages import Outcome, UsageEvent
from domain.model.settlement import ending_without_run
from domain.store import settlement as store
from domain.store.connection import Pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TOKEN_KEY, World


async def run_settle(pool: Pool, *events: UsageEvent) -> Settled:
    async with transaction(pool) as connection:
        return await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)


async def test_an_ending_the_gate_does_not_return_moves_nothing(world: World, pool: Pool) -> None:
    """A caller that forgot the lock, or looked before it: what it knows of the cast is old."""
    budget = await world.add_budget(100_000)
    (job,) = await accept(world, pool)
    async with transaction(pool) as connection:
        _, old, _ = await store.lock_and_read(connection, [job.cast_id])
    await run_settle(pool, event_of(job))
    async with transaction(pool) as connection:
        late = [ending_without_run(cast, Outcome.CANCELED) for cast in old]
        closed = await close(connection, late, batch_id=uuid4(), token_key=TOKEN_KEY)
    assert (closed.endings, closed.freed) == ((), ())
    assert await world.rows("SELECT status, cost_micros FROM casts") == [("succeeded", 1_002)]
    assert await world.window(budget) == (1_002, 0)
    assert await broken(world.database_url) == {}


async def test_of_two_endings_only_the_one_the_gate_returns_is_booked(world: World, pool: Pool) -> None:
    done, still_open = await accept(world, pool, world.spec(), world.spec())
    async with transaction(pool) as connection:
        _, old, _ = await store.lock_and_read(connection, [done.cast_id, still_open.cast_id])
    await run_settle(pool, event_of(done))
    async with transaction(pool) as connection:
        late = [ending_without_run(cast, Outcome.CANCELED) for cast in old]
        closed = await close(connection, late, batch_id=uuid4(), token_key=TOKEN_KEY)
    assert [ending.cast.id for ending in closed.endings] == [still_open.cast_id]
    assert await world.rows("SELECT status FROM casts ORDER BY id") == [("succeeded",), ("canceled",)]
    assert await broken(world.database_url) == {}


async def test_a_cast_is_settled_by_the_price_it_was_accepted_under(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    await world.rows(
        "INSERT INTO price_book (version, per_cast_micros, per_gfuel_micros, platform_share_percent)"
        " VALUES (2, 7, 7, 50)"
    )
    await run_settle(pool, event_of(job))
    assert await world.rows("SELECT cost_micros, price_version FROM casts") == [(1_002, 1)]
    assert await broken(world.database_url) == {}


async def test_each_batch_books_its_own_transfers(world: World, pool: Pool) -> None:
    for job in await accept(world, pool, *[world.spec()] * 3):
        await run_settle(pool, event_of(job))
    assert await world.rows("SELECT amount_micros, casts FROM ledger_transfers") == [(1_002, 1)] * 3
    assert await broken(world.database_url) == {}
