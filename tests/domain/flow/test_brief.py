"""What leaves with a COMMIT does what it does statement by statement, and nothing when the gate does not return it."""

from uuid import uuid4

import pytest

from domain.flow.reserve import reserve
from domain.flow.settle import Settled, settle
from domain.model.admission import Accepted, Judged
from domain.model.booking import book
from domain.model.ids import ENTROPY_BYTES
from domain.model.jobs import job_of
from domain.model.messages import CastJob, UsageEvent
from domain.model.settlement import ending_of
from domain.store import settlement
from domain.store.connection import Pool, brief_transaction, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.receivers import subscribe, told
from tests.domain.world import HOLD, PRICE, TERMS, TOKEN_KEY, World

_STATUSES = "SELECT status FROM casts ORDER BY id"


async def accept_briefly(world: World, pool: Pool, entropy: bytes) -> CastJob:
    async with brief_transaction(pool) as connection:
        (verdict,) = await reserve(connection, [world.request(key="once")], TERMS, entropy=entropy)
        assert await world.rows(_STATUSES) == []
    assert isinstance(verdict, Judged)
    (accepted,) = verdict.results
    assert isinstance(accepted, Accepted)
    return job_of(accepted, TOKEN_KEY)


async def settle_briefly(pool: Pool, *events: UsageEvent) -> Settled:
    async with brief_transaction(pool) as connection:
        return await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)


async def end_as_if_open(world: World, pool: Pool, job: CastJob) -> None:
    """End a cast as a flow would that believed in what it read before somebody else ended it."""
    async with transaction(pool) as connection:
        _, (held,), _ = await settlement.lock_and_read(connection, [job.cast_id])
    await settle_briefly(pool, event_of(job))
    before = await world.rows("SELECT to_jsonb(a) FROM accounts a WHERE id = %s", world.account_id)
    ending = ending_of(event_of(job), held, {PRICE.version: PRICE})
    try:
        async with brief_transaction(pool) as connection:
            batch_id = uuid4()
            bookings = book([ending], batch_id=batch_id)
            await settlement.end_and_write(connection, [ending], bookings, [], batch_id=batch_id)
    finally:
        assert await world.rows("SELECT to_jsonb(a) FROM accounts a WHERE id = %s", world.account_id) == before


async def test_a_cast_is_held_and_settled_in_two_exchanges_each(world: World, pool: Pool) -> None:
    await world.add_budget(2 * HOLD)
    job = await accept_briefly(world, pool, bytes(ENTROPY_BYTES))
    assert await broken(world.database_url) == {}
    for ended in (1, 0):  # twice
        settled = await settle_briefly(pool, event_of(job))
        assert (len(settled.endings), len(settled.strays)) == (ended, 1 - ended)
        assert await world.rows(_STATUSES) == [("succeeded",)]
        assert await broken(world.database_url) == {}


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


async def test_a_soft_limit_is_told_of(world: World, pool: Pool) -> None:
    await subscribe(pool, world.account_id, "budget.*")
    budget = await world.add_budget(10**9)
    await world.rows("UPDATE budgets SET soft_limit_micros = 1, notify = true WHERE id = %s", budget)
    await settle_briefly(pool, event_of(*await accept(world, pool)))
    assert [row.payload["percent"] for row in await told(world)] == [100]


async def test_what_the_gate_does_not_return_rolls_everything_back(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    with pytest.raises(AssertionError, match="casts_end did not find"):
        await end_as_if_open(world, pool, job)
    assert await broken(world.database_url) == {}
