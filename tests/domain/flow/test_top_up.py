"""Automatic top-ups, and refunds of what nobody used: what is begun here and ended by the outbox."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.refund_order import end_refund, refund_order
from domain.flow.set_auto_top_up import TopUpTerms, set_auto_top_up
from domain.flow.start_top_up import end_top_up, start_top_up
from domain.model.audit import OPERATOR
from domain.model.credit_orders import Facts
from domain.model.credits import Order, Takeback
from domain.model.errors import Code, RefusedError
from domain.model.intents import RefundIntent, TopupIntent
from domain.model.outbox import Finished, OutboxStatus
from domain.model.top_up import AutoTopUp
from domain.store import top_ups
from domain.store.connection import Pool, transaction
from tests.domain.admitted import accept
from tests.domain.credit_books import (
    CREDIT,
    NOW,
    PRICE,
    WORTH,
    apply,
    broken_credits,
    give,
    grants,
    history,
    order,
    paid,
)
from tests.domain.flow.test_credits import consume
from tests.domain.world import HOLD, World

TERMS = TopUpTerms(enabled=True, package_id="starter", threshold_micros=5_000_000, monthly_cap_cents=2_000)
CARD = {"payment_id": "pi_1", "payment_method": "pm_1", "customer": "cus_1"}


async def set_top_up(world: World, pool: Pool, terms: TopUpTerms = TERMS) -> AutoTopUp:
    async with transaction(pool) as connection:
        return await set_auto_top_up(
            connection, account_id=world.account_id, terms=terms, credit_micros=CREDIT, actor=OPERATOR
        )


async def start(world: World, pool: Pool, *, days: int = 0) -> Order | None:
    async with transaction(pool) as connection:
        return await start_top_up(
            connection,
            account_id=world.account_id,
            order_id=uuid4(),
            credit_micros=CREDIT,
            now=NOW + timedelta(days=days),
        )


async def end(world: World, pool: Pool, order_id: UUID, status: OutboxStatus, said: str) -> None:
    intent = TopupIntent(customer_id="cus_1", payment_method_id="pm_1", amount_cents=999, description="")
    finished = Finished(
        id=order_id,
        account_id=world.account_id,
        subject_id=order_id,
        frozen=msgspec.Raw(msgspec.json.encode(intent)),
        known={"status": said, "payment_intent_id": f"pi_{order_id}"},
        status=status,
    )
    async with transaction(pool) as connection:
        await end_top_up(connection, finished, NOW)


async def keep_card(world: World, pool: Pool) -> UUID:
    """Buy a package, use it up, and let the card be kept."""
    order_id = await order(world, pool)
    await apply(pool, order_id, msgspec.structs.replace(paid(), **CARD))
    await consume(world, pool, WORTH)
    return order_id


async def paused(world: World, pool: Pool) -> bool:
    async with transaction(pool) as connection:
        found = await top_ups.top_up_get(connection, account_id=world.account_id)
    assert found is not None
    return found.paused_at is not None


async def test_a_top_up_is_begun_when_credits_run_low_and_paid_once(world: World, pool: Pool) -> None:
    await keep_card(world, pool)
    assert await start(world, pool) is None, "off by default"
    await set_top_up(world, pool)
    begun = await start(world, pool)
    assert begun is not None
    assert (begun.origin, begun.status, begun.price_micros) == ("top_up", "pending", PRICE)
    assert await start(world, pool) is None, "one is open"
    [(frozen, subject)] = await world.rows("SELECT frozen::text, subject_id FROM outbox WHERE kind = 'topup'")
    assert subject == begun.id
    assert msgspec.json.decode(frozen, type=TopupIntent) == TopupIntent(
        customer_id="cus_1",
        payment_method_id="pm_1",
        amount_cents=999,
        description="1000 credits, automatic top-up",
    )
    for _ in range(2):
        await end(world, pool, begun.id, OutboxStatus.DONE, "succeeded")
    assert await grants(world) == [(0, 0), (WORTH, 0)] or await grants(world) == [(WORTH, 0), (0, 0)]
    assert (await history(world))[-1] == ("top_up", WORTH, WORTH)
    assert await start(world, pool) is None, "there is enough"
    assert await broken_credits(world.database_url) == {}


async def test_many_at_one_moment_begin_one_payment(world: World, pool: Pool) -> None:
    await keep_card(world, pool)
    await set_top_up(world, pool)
    barrier = asyncio.Barrier(12)

    async def one() -> Order | None:
        await barrier.wait()
        return await start(world, pool)

    begun = [found for found in await asyncio.gather(*(one() for _ in range(12))) if found is not None]
    assert len(begun) == 1
    assert await world.rows("SELECT count(*) FROM outbox") == [(1,)]


async def test_top_ups_end_at_the_monthly_cap_and_go_on_next_month(world: World, pool: Pool) -> None:
    await keep_card(world, pool)
    await set_top_up(world, pool)
    for _ in range(2):
        begun = await start(world, pool)
        assert begun is not None
        await end(world, pool, begun.id, OutboxStatus.DONE, "succeeded")
        await consume(world, pool, WORTH)
    assert await start(world, pool) is None, "two packages are $19.98, a third is over $20"
    assert await start(world, pool, days=2) is not None, "December"


async def test_a_declined_card_pauses_until_it_is_set_again(world: World, pool: Pool) -> None:
    await keep_card(world, pool)
    await set_top_up(world, pool)
    begun = await start(world, pool)
    assert begun is not None
    await end(world, pool, begun.id, OutboxStatus.REFUSED, "requires_payment_method")
    assert await paused(world, pool)
    assert await start(world, pool) is None
    await set_top_up(world, pool)
    assert not await paused(world, pool)
    assert await start(world, pool) is not None
    assert await world.rows("SELECT count(*) FROM audit_log WHERE action = 'top_up.update'") == [(1,)]


async def test_a_payment_that_takes_days_is_open_until_its_event(world: World, pool: Pool) -> None:
    await keep_card(world, pool)
    await set_top_up(world, pool)
    begun = await start(world, pool)
    assert begun is not None
    await end(world, pool, begun.id, OutboxStatus.DONE, "processing")
    assert await start(world, pool) is None
    found = await apply(pool, begun.id, paid())
    assert found is not None
    assert (found.status, found.stripe_payment) == ("completed", f"pi_{begun.id}")


async def test_without_a_kept_card_nothing_is_begun(world: World, pool: Pool) -> None:
    await set_top_up(world, pool)
    assert await start(world, pool) is None
    assert await paused(world, pool)


async def test_what_an_open_cast_holds_is_not_available(world: World, pool: Pool) -> None:
    await keep_card(world, pool)
    await give(world, pool, 5_000_000 + HOLD - 1)
    await set_top_up(world, pool)
    assert await start(world, pool) is None
    await accept(world, pool, world.spec())
    assert await start(world, pool) is not None


@pytest.mark.parametrize(
    ("change", "place"),
    [({"threshold_micros": WORTH}, "threshold"), ({"monthly_cap_cents": 998}, "monthly_cap_cents"),
     ({"package_id": "huge"}, "package")],
)  # fmt: skip
async def test_terms_that_cannot_work_are_refused(world: World, pool: Pool, change: dict, place: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await set_top_up(world, pool, msgspec.structs.replace(TERMS, **change))
    assert caught.value.refusal.code is Code.VALIDATION
    assert [fault.location for fault in caught.value.refusal.faults] == [place]


async def refund(pool: Pool, order_id: UUID, refund_id: UUID, micros: int | None = None) -> Takeback:
    async with transaction(pool) as connection:
        return await refund_order(
            connection, order_id=order_id, refund_id=refund_id, credits_micros=micros, actor=OPERATOR, now=NOW
        )


async def end_of_refund(world: World, pool: Pool, refund_id: UUID, status: OutboxStatus) -> None:
    finished = Finished(
        id=refund_id,
        account_id=world.account_id,
        subject_id=refund_id,
        frozen=msgspec.Raw(b"{}"),
        known={},
        status=status,
    )
    async with transaction(pool) as connection:
        await end_refund(connection, finished, NOW)


async def bought(world: World, pool: Pool) -> UUID:
    order_id = await order(world, pool)
    await apply(pool, order_id, msgspec.structs.replace(paid(), payment_id="pi_1"))
    return order_id


async def test_unused_credits_are_refunded_in_whole_cents_once(world: World, pool: Pool) -> None:
    order_id, refund_id = await bought(world, pool), uuid4()
    await consume(world, pool, 4_000_000)
    for _ in range(2):
        taken = await refund(pool, order_id, refund_id)
        assert (taken.money_micros, taken.owed_micros) == (5_990_000, 0), "6/10 of $9.99, rounded down"
    assert await grants(world) == [(6_000_000 - WORTH * 599 // 999, 0)]
    [(frozen,)] = await world.rows("SELECT frozen::text FROM outbox WHERE kind = 'refund'")
    assert msgspec.json.decode(frozen, type=RefundIntent) == RefundIntent(payment_intent_id="pi_1", amount_cents=599)
    await apply(pool, order_id, paid(refunded_micros=5_990_000))
    assert len(await history(world)) == 3, "Stripe tells of our own refund"
    assert await broken_credits(world.database_url) == {}


async def test_a_refund_leaves_held_credits_alone(world: World, pool: Pool) -> None:
    order_id = await bought(world, pool)
    await accept(world, pool, world.spec())
    taken = await refund(pool, order_id, uuid4())
    assert taken.money_micros == 9_980_000
    [(balance, held)] = await grants(world)
    assert balance >= held == HOLD


async def test_a_refund_that_stripe_refuses_gives_the_credits_back(world: World, pool: Pool) -> None:
    order_id, refund_id = await bought(world, pool), uuid4()
    await refund(pool, order_id, refund_id, 5_000_000)
    for _ in range(2):
        await end_of_refund(world, pool, refund_id, OutboxStatus.REFUSED)
    assert await grants(world) == [(WORTH, 0)]
    assert await world.rows("SELECT status FROM credit_orders") == [("completed",)]
    assert [row[0] for row in await history(world)] == ["purchase", "refund", "refund_failed"]
    await end_of_refund(world, pool, refund_id, OutboxStatus.DONE)
    assert await broken_credits(world.database_url) == {}


async def test_a_refund_made_at_stripe_meanwhile_stays(world: World, pool: Pool) -> None:
    """Ours is refused because all of it was given back there: the credits are gone once, not twice and not never."""
    order_id, refund_id = await bought(world, pool), uuid4()
    await refund(pool, order_id, refund_id, 5_000_000)
    await apply(pool, order_id, paid(refunded_micros=PRICE))
    assert await grants(world) == [(0, 0)]
    await end_of_refund(world, pool, refund_id, OutboxStatus.REFUSED)
    assert await grants(world) == [(0, 0)]
    assert await world.rows("SELECT status FROM credit_orders") == [("refunded",)]
    assert await broken_credits(world.database_url) == {}


async def test_what_cannot_be_refunded_says_why(world: World, pool: Pool) -> None:
    async def code(order_id: UUID) -> Code:
        with pytest.raises(RefusedError) as caught:
            await refund(pool, order_id, uuid4())
        return caught.value.refusal.code

    assert await code(uuid4()) is Code.NOT_FOUND
    pending = await order(world, pool)
    assert await code(pending) is Code.CONFLICT
    used = await keep_card(world, pool)
    assert await code(used) is Code.CONFLICT
    await apply(pool, pending, Facts(payment="expired"))
    assert await code(pending) is Code.CONFLICT


async def test_a_suspended_account_and_a_package_that_is_gone_top_nothing_up(world: World, pool: Pool) -> None:
    await keep_card(world, pool)
    await set_top_up(world, pool)
    await world.rows("UPDATE accounts SET status = 'suspended' WHERE id = %s", world.account_id)
    assert await start(world, pool) is None
    await world.rows("UPDATE accounts SET status = 'active' WHERE id = %s", world.account_id)
    await world.rows("UPDATE credit_packages SET retired_at = now() WHERE id = 'starter'")
    assert await start(world, pool) is None
    assert await world.rows("SELECT count(*) FROM outbox") == [(0,)]
