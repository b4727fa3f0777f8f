import asyncio
import os
from uuid import uuid4

import msgspec
import pytest

from domain.flow.reserve import NotLocked, reserve
from domain.model.admission import Accepted, Judged, Replayed, Verdict
from domain.model.errors import Code, Refusal
from domain.model.ids import ENTROPY_BYTES
from domain.model.messages import Pool as WorkerPool
from domain.model.places import NO_CAST
from domain.store.connection import Pool, transaction
from tests.domain.world import HOLD, TERMS, World, admit


def only(verdict: object) -> Accepted | Refusal:
    assert isinstance(verdict, Judged)
    return verdict.results[0]


async def test_a_cast_holds_its_maximum_price_in_every_window_that_applies(world: World, pool: Pool) -> None:
    account_budget = await world.add_budget(10_000)
    key_budget = await world.add_budget(10_000, scope="key", scope_id=world.key_id)
    other_key = await world.add_budget(0, scope="key", scope_id=uuid4())
    accepted = only((await admit(pool, world.request()))[0])
    assert isinstance(accepted, Accepted)
    assert accepted.held_micros == HOLD
    assert await world.window(account_budget) == (0, HOLD)
    assert await world.window(key_budget) == (0, HOLD)
    assert await world.window(other_key) == (0, 0)
    assert accepted.budget is not None
    assert accepted.budget.held_micros == HOLD
    rows = await world.rows("SELECT status, held_micros, funding, on_wire, input FROM casts")
    assert rows == [("queued", HOLD, "metered", True, b"{}")]
    assert await world.rows("SELECT open_casts, on_wire_default FROM accounts WHERE id = %s", world.account_id) == [
        (1, 1)
    ]


async def test_the_402_names_the_tightest_budget_and_holds_nothing(world: World, pool: Pool) -> None:
    await world.add_budget(5 * HOLD)
    tight = await world.add_budget(HOLD, scope="spell", scope_id=world.spell_id)
    first, second = await admit(pool, world.request(), world.request())
    assert isinstance(only(first), Accepted)
    refusal = only(second)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.BUDGET_EXCEEDED
    assert refusal.limit is not None
    assert (refusal.limit.limit_id, refusal.limit.held_micros, refusal.limit.needed_micros) == (tight, HOLD, HOLD)
    assert await world.rows("SELECT count(*) FROM casts") == [(1,)]


async def test_sixty_concurrent_batches_never_pass_a_budget_for_ten(world: World, pool: Pool) -> None:
    budget = await world.add_budget(10 * HOLD)
    barrier = asyncio.Barrier(60)

    async def one() -> Verdict | object:
        await barrier.wait()
        return (await admit(pool, world.request()))[0]

    verdicts = await asyncio.gather(*(one() for _ in range(60)))
    accepted = [verdict for verdict in verdicts if isinstance(only(verdict), Accepted)]
    assert len(accepted) == 10
    assert await world.window(budget) == (0, 10 * HOLD)


async def test_an_idempotency_key_replays_within_a_batch_and_later(world: World, pool: Pool) -> None:
    first, second = await admit(pool, world.request(key="k"), world.request(key="k"))
    accepted = only(first)
    assert isinstance(accepted, Accepted)
    assert second == Replayed(cast_ids=(accepted.cast_id,))
    assert await admit(pool, world.request(key="k")) == [Replayed(cast_ids=(accepted.cast_id,))]
    (other,) = await admit(pool, world.request(key="k", body=b"other"))
    assert isinstance(other, Refusal)
    assert other.code is Code.IDEMPOTENCY_KEY_REUSED


async def test_a_batch_is_remembered_with_the_places_of_what_was_refused(world: World, pool: Pool) -> None:
    await world.add_budget(HOLD)
    batch = msgspec.structs.replace(world.request(world.spec(), world.spec(), key="k"), places=(1, 2), sent_count=3)
    (first,) = await admit(pool, batch)
    assert isinstance(first, Judged)
    accepted, _refused = first.results
    assert isinstance(accepted, Accepted)
    assert await admit(pool, batch) == [Replayed(cast_ids=(NO_CAST, accepted.cast_id, NO_CAST))]


async def test_a_refused_request_is_not_remembered(world: World, pool: Pool) -> None:
    budget = await world.add_budget(0)
    assert isinstance(only((await admit(pool, world.request(key="k")))[0]), Refusal)
    await world.rows("UPDATE budget_windows SET hard_limit_micros = 100000 WHERE budget_id = %s", budget)
    await world.rows("UPDATE budgets SET hard_limit_micros = 100000 WHERE id = %s", budget)
    assert isinstance(only((await admit(pool, world.request(key="k")))[0]), Accepted)


async def test_a_revoked_key_casts_nothing(world: World, pool: Pool) -> None:
    await world.rows("UPDATE api_keys SET revoked_at = now() WHERE id = %s", world.key_id)
    (verdict,) = await admit(pool, world.request())
    assert isinstance(verdict, Refusal)
    assert verdict.code is Code.UNAUTHORIZED


@pytest.mark.parametrize("worker_pool", list(WorkerPool))
async def test_more_than_the_wire_share_waits_in_postgres(world: World, pool: Pool, worker_pool: WorkerPool) -> None:
    spec = world.spec(pool=worker_pool)
    await admit(pool, world.request(*([spec] * 300)))
    assert await world.rows("SELECT on_wire, count(*) FROM casts GROUP BY 1 ORDER BY 1") == [(False, 44), (True, 256)]


async def test_credits_are_held_in_order_of_priority_and_expiry(world: World, pool: Pool) -> None:
    first, second = uuid4(), uuid4()
    for grant, priority, micros in ((second, 2, 10_000), (first, 1, 1_000)):
        await world.rows(
            "INSERT INTO credit_grants (id, account_id, priority, granted_micros, balance_micros)"
            " VALUES (%s, %s, %s, %s, %s)",
            grant, world.account_id, priority, micros, micros,
        )  # fmt: skip
    accepted = only((await admit(pool, world.request()))[0])
    assert isinstance(accepted, Accepted)
    assert [(part.grant_id, part.micros) for part in accepted.grants] == [(first, 1_000), (second, 1_500)]
    held = await world.rows("SELECT held_micros FROM credit_grants ORDER BY priority")
    assert held == [(1_000,), (1_500,)]


async def test_the_second_of_two_equal_requests_waits_for_the_first_and_is_its_replay(world: World, pool: Pool) -> None:
    """What it read before the lock would be old: it would find no cast under its key."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    async def second() -> list[Verdict | NotLocked]:
        async with transaction(pool) as connection:
            await connection.execute(b"SET LOCAL lock_timeout = 0")
            return await reserve(connection, [world.request(key="k")], TERMS, entropy=os.urandom(ENTROPY_BYTES))

    async with transaction(pool) as connection:
        (first,) = await reserve(connection, [world.request(key="k")], TERMS, entropy=os.urandom(ENTROPY_BYTES))
        behind = asyncio.create_task(second())
        async with asyncio.timeout(30):
            while await world.rows(waiting) != [(1,)]:
                assert not behind.done()
    accepted = only(first)
    assert isinstance(accepted, Accepted)
    assert await behind == [Replayed(cast_ids=(accepted.cast_id,))]
    assert await world.rows("SELECT count(*) FROM casts") == [(1,)]
