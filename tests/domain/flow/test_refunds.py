"""Paying casts back: whole, once, to whom it came from, out of whose hands it went."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from domain.flow.make_receipt import make_receipt
from domain.flow.reconcile import reconcile
from domain.flow.refund_cast import refund_cast
from domain.flow.settle import settle
from domain.model.admission_state import Terms
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.model.messages import Outcome
from domain.model.receipt import Receipt
from domain.store.connection import Pool, transaction
from domain.store.receipts import RefundRow
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.patience import again
from tests.domain.world import TERMS, TOKEN_KEY, World, admit

COST = 1_002 + 500


async def ended(world: World, pool: Pool, outcome: Outcome = Outcome.SUCCEEDED) -> UUID:
    (job,) = await accept(world, pool, world.spec(creator_price_micros=500))
    async with transaction(pool) as connection:
        await settle(connection, [event_of(job, outcome)], batch_id=uuid4(), token_key=TOKEN_KEY)
    return job.cast_id


async def refund(pool: Pool, cast_id: UUID, reason: str = "sorry") -> tuple[RefundRow, bool]:
    async with transaction(pool) as connection:
        return await refund_cast(connection, cast_id=cast_id, reason=reason, actor=OPERATOR, now=datetime.now(UTC))


async def receipt(world: World, pool: Pool, cast_id: UUID) -> Receipt:
    async with transaction(pool) as connection:
        return await make_receipt(connection, account_id=world.account_id, cast_id=cast_id, issuer="https://x.example")


async def balances(world: World) -> dict[str, int]:
    rows = await world.rows(
        "SELECT name, sum(micros)::bigint FROM (SELECT credit AS name, amount_micros AS micros FROM ledger_transfers"
        " UNION ALL SELECT debit, -amount_micros FROM ledger_transfers) AS sides GROUP BY name"
    )
    return {name: micros for name, micros in rows if micros}


async def grant(world: World, micros: int, priority: int) -> UUID:
    grant_id = uuid4()
    await world.rows(
        "INSERT INTO credit_grants (id, account_id, priority, granted_micros, balance_micros)"
        " VALUES (%s, %s, %s, %s, %s)",
        *(grant_id, world.account_id, priority, micros, micros),
    )
    return grant_id


async def test_a_metered_cast_is_paid_back_once_and_the_creator_gives_his_share(world: World, pool: Pool) -> None:
    cast_id = await ended(world, pool)
    assert await balances(world) == {
        f"receivable:{world.account_id}": -COST,
        "revenue:platform": 1_102,
        f"creator:{world.creator_id}": 400,
    }
    first, made = await refund(pool, cast_id)
    again, twice = await refund(pool, cast_id, "another reason")
    assert (first.amount_micros, made, again, twice) == (COST, True, first, False)
    assert await balances(world) == {}
    month = "SELECT DISTINCT account_id, spell_id, month FROM ledger_transfers"
    # Undone where it was booked, so that the next invoice's difference shrinks.
    assert len(await world.rows(month)) == 1
    told = await receipt(world, pool, cast_id)
    assert told.refund is not None
    booked = await world.rows("SELECT id FROM ledger_transfers WHERE batch_id = %s", cast_id)
    assert {row[0] for row in booked} == {one.id for one in told.refund.transfers}
    assert await broken(world.database_url) == {}


async def test_what_was_used_stays_used_in_every_book_but_the_ledger(world: World, pool: Pool) -> None:
    budget = await world.add_budget(10_000)
    cast_id = await ended(world, pool)
    before = await world.window(budget)
    await refund(pool, cast_id)
    assert await world.window(budget) == before == (COST, 0)
    async with transaction(pool) as connection:
        assert (await reconcile(connection, now=datetime.now(UTC))).balanced


async def test_credits_go_back_to_the_grants_that_paid(world: World, pool: Pool) -> None:
    await world.rows("UPDATE accounts SET billing = 'on' WHERE id = %s", world.account_id)
    small, large = await grant(world, 1_200, 1), await grant(world, 5_000, 2)
    cast_id = await ended(world, pool)
    kept = "SELECT id, balance_micros, held_micros FROM credit_grants ORDER BY priority"
    assert await world.rows(kept) == [(small, 0, 0), (large, 5_000 - 302, 0)]
    await refund(pool, cast_id)
    assert await world.rows(kept) == [(small, 1_200, 0), (large, 5_000, 0)]
    told = "SELECT kind, amount_micros, balance_after_micros, reference_id FROM credit_transactions ORDER BY 1"
    assert ("cast_refund", COST, 6_200, str(cast_id)) in await world.rows(told)
    assert await balances(world) == {}
    assert await broken(world.database_url) == {}


async def test_of_many_at_once_one_pays_back(world: World, pool: Pool) -> None:
    cast_id = await ended(world, pool)
    barrier = asyncio.Barrier(4)

    async def at_once() -> bool:
        await barrier.wait()
        return (await again(lambda: refund(pool, cast_id)))[1]

    assert sorted(await asyncio.gather(*(at_once() for _ in range(4)))) == [False, False, False, True]
    assert await balances(world) == {}


class KilledError(Exception):
    """The process ends here."""


async def refund_and_die(pool: Pool, cast_id: UUID) -> None:
    async with transaction(pool) as connection:
        await refund_cast(connection, cast_id=cast_id, reason="x", actor=OPERATOR, now=datetime.now(UTC))
        raise KilledError


async def test_killed_before_the_commit_it_is_done_again(world: World, pool: Pool) -> None:
    cast_id = await ended(world, pool)
    with pytest.raises(KilledError):
        await refund_and_die(pool, cast_id)
    assert (await refund(pool, cast_id))[1]
    assert await balances(world) == {}


async def test_what_nobody_paid_for_is_not_paid_back(world: World, pool: Pool) -> None:
    free = Terms(price=TERMS.price, free_casts_per_month=9, billing_enabled=False, metered_limit_default_micros=10**12)
    (verdict,) = await admit(pool, world.request(), terms=free)
    cast_id = verdict.results[0].cast_id
    with pytest.raises(RefusedError, match="has not ended"):
        await refund(pool, cast_id)
    await world.rows("UPDATE casts SET cost_micros = 1001, status = 'succeeded' WHERE id = %s", cast_id)
    for asked, said in (
        (cast_id, "Nobody paid"),
        (await ended(world, pool, Outcome.PLATFORM_ERROR), "Nobody paid"),
        (uuid4(), "no such cast"),
    ):
        with pytest.raises(RefusedError, match=said) as caught:
            await refund(pool, asked)
        assert caught.value.refusal.code in {Code.CONFLICT, Code.NOT_FOUND}


async def test_a_cast_settled_before_batches_were_kept_has_a_receipt_too(world: World, pool: Pool) -> None:
    cast_id = await ended(world, pool)
    await world.rows("UPDATE usage_events SET batch_id = NULL WHERE id = %s", cast_id)
    ledger = (await receipt(world, pool, cast_id)).ledger
    assert (ledger.batch_id, ledger.transfers) == (None, ())
    with pytest.raises(RefusedError, match="no such cast"):
        async with transaction(pool) as connection:
            await make_receipt(connection, account_id=world.creator_id, cast_id=cast_id, issuer="")
