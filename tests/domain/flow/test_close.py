"""The gate and what hangs on it: asked twice, asked late, asked under a newer price."""

from uuid import uuid4

from domain.flow.close import close
from domain.flow.settle import Settled, settle
from domain.model.messages import Outcome, UsageEvent
from domain.model.settlement import ending_without_run
from domain.store import settlement as store
from domain.store import usage
from domain.store.connection import Pool, statement, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TOKEN_KEY, World


async def run_settle(pool: Pool, *events: UsageEvent) -> Settled:
    async with transaction(pool) as connection:
        return await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)


async def count(pool: Pool) -> int:
    async with statement(pool) as connection:
        return await usage.count(connection)


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


COUNTERS = (
    "SELECT account_id, dimension, subject_id, period, casts, failed, fuel, cpu_us, cost_micros"
    " FROM usage_counters ORDER BY account_id = %s DESC, dimension, period"
)


async def test_counters_and_usage_events_say_what_each_cast_was(world: World, pool: Pool) -> None:
    done, trapped = await accept(world, pool, world.spec(), world.spec())
    trap = event_of(trapped, outcome=Outcome.TRAP, fuel=None, cpu_us=7, exit_code=None, output=None)
    await run_settle(pool, event_of(done, fuel=1_000_000_000, cpu_us=5), trap)
    assert await count(pool) == 2
    mine = (2, 1, 1_000_000_000, 12, 3_500)
    assert await world.rows(COUNTERS, world.account_id) == [
        (world.account_id, "account", world.account_id, "day", *mine),
        (world.account_id, "account_spell", world.spell_id, "day", *mine),
        (world.account_id, "key", world.key_id, "day", *mine),
        (world.creator_id, "spell", world.spell_id, "day", *mine),
    ]
    assert await world.rows(
        "SELECT id, account_id, key_id, spell_id, outcome, fuel, cpu_us, cost_micros, funding FROM usage_events"
        " ORDER BY id"
    ) == [
        (done.cast_id, world.account_id, world.key_id, world.spell_id, "succeeded", 10**9, 5, 2_500, "metered"),
        (trapped.cast_id, world.account_id, world.key_id, world.spell_id, "trap", None, 7, 1_000, "metered"),
    ]


async def test_a_cast_without_a_key_counts_for_none(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    await world.rows("UPDATE casts SET key_id = NULL")
    await run_settle(pool, event_of(job))
    await count(pool)
    found = await world.rows("SELECT dimension FROM usage_counters ORDER BY dimension")
    assert found == [("account",), ("account_spell",), ("spell",)]


async def test_a_cast_counts_on_the_day_it_was_accepted_whenever_it_ends(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    await world.rows("UPDATE casts SET accepted_at = '2026-02-28 23:59:59Z'")
    await world.rows("UPDATE account_months SET month = '2026-02-01'")
    await run_settle(pool, event_of(job))
    await count(pool)
    found = await world.rows("SELECT DISTINCT period, starts_on::text FROM usage_counters ORDER BY period")
    assert found == [("day", "2026-02-28")]
    assert await world.rows("SELECT month::text FROM usage_events") == [("2026-02-01",)]
