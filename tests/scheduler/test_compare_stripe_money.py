"""Payments for credits, refunds and transfers to creators, ours and Stripe's: each drift of theirs is named."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.compare_stripe import StripeReport
from domain.model.stripe_listing import LOOK_AGAIN_AFTER
from domain.store.connection import ANY_PLANS, Role, open_pool
from gateways.stripe.client import StripeGateway
from local.stripe.fake import FakeStripe
from scheduler.compare_stripe import compare_stripe
from scheduler.jobs import Clockwork
from tests.domain.world import World, make_world
from tests.scheduler.billed_many import gateway_of

MADE = datetime(2026, 11, 1, 6, tzinfo=UTC)
NOW = MADE + timedelta(days=1)
CENTS = 999


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """An account that bought credits once, half of which were refunded, and was paid as a creator."""

    world: World
    fake: FakeStripe
    stripe: StripeGateway
    clockwork: Clockwork
    customer_id: str
    card: str
    order_id: UUID
    payment_id: str
    refund_id: UUID
    payout_id: UUID
    creator_id: str

    async def pay(self, order_id: UUID, cents: int = CENTS) -> str:
        paid = await self.stripe.payments.charge(
            customer_id=self.customer_id, payment_method_id=self.card, amount_cents=cents, description="credits",
            metadata={"spell_outbox": str(order_id)}, key=str(uuid4()),
        )  # fmt: skip
        return paid.id

    async def refund(self, refund_id: UUID | None, cents: int) -> str:
        metadata = {} if refund_id is None else {"spell_outbox": str(refund_id)}
        made = await self.stripe.payments.refund(
            self.payment_id, amount_cents=cents, metadata=metadata, key=str(uuid4())
        )
        return made.id

    async def transfer(self, payout_id: UUID, cents: int = CENTS) -> str:
        made = await self.stripe.transfers.pay(
            self.creator_id, amount_cents=cents, description="payout", metadata={"spell_outbox": str(payout_id)},
            key=str(uuid4()),
        )  # fmt: skip
        return made.id

    async def compared(self) -> set[tuple[str, str]]:
        for now in (NOW, NOW + LOOK_AGAIN_AFTER):
            await compare_stripe(self.clockwork, now)
        ((text,),) = await self.world.rows("SELECT report::text FROM reconciliation_reports WHERE scope = 'stripe'")
        report = msgspec.json.decode(text, type=StripeReport)
        assert report.compared
        return {(book.book.value, row.fault) for book in report.books for row in book.rows}


_ORDER: Final = (
    "INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros, status,"
    " stripe_payment, created_at, granted_at) VALUES (%s, %s, 'checkout', 'starter', 1, %s, 9, %s, %s, %s, %s)"
)
_TAKEBACK: Final = (
    "INSERT INTO credit_takebacks (id, account_id, order_id, kind, reference, money_micros, credits_micros,"
    " owed_micros, created_at) VALUES (%s, %s, %s, 'refund', %s, %s, 4, 0, %s)"
)
_OUTBOX: Final = (
    "INSERT INTO outbox (id, account_id, kind, subject_id, frozen, created_at, step, known, next_attempt_at, status,"
    " finished_at) VALUES (%s, %s, 'refund', %s, %s, %s, 'refund', %s, %s, 'done', %s)"
)
_RUN: Final = "INSERT INTO payout_runs (id, period, started_at) VALUES (%s, '2026-10-01', %s)"
_PAYOUT: Final = (
    "INSERT INTO payouts (id, account_id, run_id, period, frozen_at, payable_micros, held_back_micros, amount_cents,"
    " stripe_account_id, status, stripe_transfer_id, finished_at)"
    " VALUES (%s, %s, %s, '2026-10-01', %s, %s, 0, %s, %s, 'paid', %s, %s)"
)


@pytest.fixture
async def shop(database_url: str, tmp_path: Path) -> AsyncGenerator[Shop]:
    world = await make_world(database_url)
    account_id = world.account_id
    with FakeStripe(tmp_path / "stripe", clock=MADE.timestamp) as fake:
        async with (
            gateway_of(fake) as stripe,
            open_pool(database_url, role=Role.ENGINE, size_max=4, plans=ANY_PLANS) as pool,
        ):
            customer = await stripe.customers.create(email=None, name="c", account_id=str(account_id), key="c")
            creator = await stripe.accounts.create(account_id="c", country="DE", key="a")
            fake.onboard(creator.id)
            fake.add_funds(100_000)
            clockwork = Clockwork(
                pool=pool, slow_pool=pool, redis=cast("Any", None), token_key=b"", billing=True, stripe=stripe
            )
            made = Shop(
                world=world, fake=fake, stripe=stripe, clockwork=clockwork, customer_id=customer.id,
                card=fake.give_card(customer.id), order_id=uuid4(), payment_id="", refund_id=uuid4(),
                payout_id=uuid4(), creator_id=creator.id,
            )  # fmt: skip
            paid = msgspec.structs.replace(made, payment_id=await made.pay(made.order_id))
            await _write(paid)
            yield paid


async def _write(shop: Shop) -> None:
    """Write what we know of it."""
    world, account_id = shop.world, shop.world.account_id
    order = (shop.order_id, account_id, CENTS * 10_000, "partly_refunded", shop.payment_id, MADE, MADE)
    await world.rows(_ORDER, *order)
    refund_id, cents = shop.refund_id, 500
    await world.rows(_TAKEBACK, refund_id, account_id, shop.order_id, str(refund_id), cents * 10_000, MADE)
    frozen = f'{{"payment_intent_id": "{shop.payment_id}", "amount_cents": {cents}}}'
    known = f'{{"refund_id": "{await shop.refund(refund_id, cents)}", "status": "succeeded"}}'
    await world.rows(_OUTBOX, refund_id, account_id, refund_id, frozen, MADE, known, MADE, MADE)
    run_id, transfer_id = uuid4(), await shop.transfer(shop.payout_id)
    await world.rows(_RUN, run_id, MADE)
    payout = (shop.payout_id, account_id, run_id, MADE, CENTS * 10_000, CENTS, shop.creator_id, transfer_id, MADE)
    await world.rows(_PAYOUT, *payout)


async def _nothing(shop: Shop) -> None:
    del shop


async def _paid_and_not_granted(shop: Shop) -> None:
    order_id = uuid4()
    await shop.pay(order_id)
    await shop.world.rows(_ORDER, order_id, shop.world.account_id, CENTS * 10_000, "pending", None, MADE, None)


async def _granted_and_not_paid(shop: Shop) -> None:
    order = (uuid4(), shop.world.account_id, CENTS * 10_000, "completed", "pi_nowhere", MADE, MADE)
    await shop.world.rows(_ORDER, *order)


async def _paid_twice(shop: Shop) -> None:
    await shop.pay(shop.order_id)


async def _paid_for_nobody(shop: Shop) -> None:
    await shop.pay(uuid4())


async def _paid_too_little(shop: Shop) -> None:
    await shop.world.rows("UPDATE credit_orders SET price_micros = price_micros + 10000")


async def _refunded_twice(shop: Shop) -> None:
    await shop.refund(shop.refund_id, 100)


async def _refunded_at_stripe(shop: Shop) -> None:
    await shop.refund(None, 100)


async def _refund_failed(shop: Shop) -> None:
    ((known,),) = await shop.world.rows("SELECT known ->> 'refund_id' FROM outbox")
    shop.fake.fail_refund(known)


async def _refund_of_another_amount(shop: Shop) -> None:
    frozen = '{"payment_intent_id": "pi", "amount_cents": 501}'
    await shop.world.rows("UPDATE outbox SET frozen = %s", frozen)
    await shop.world.rows("UPDATE credit_takebacks SET money_micros = 5010000")


async def _refund_is_gone(shop: Shop) -> None:
    await shop.world.rows('UPDATE outbox SET known = \'{"refund_id": "re_nowhere"}\'')


async def _transferred_twice(shop: Shop) -> None:
    await shop.transfer(shop.payout_id, 1)


async def _transferred_for_nobody(shop: Shop) -> None:
    await shop.transfer(uuid4())


async def _taken_back(shop: Shop) -> None:
    ((transfer_id,),) = await shop.world.rows("SELECT stripe_transfer_id FROM payouts")
    shop.fake.reverse(transfer_id, cents=5)


async def _transfer_of_another_amount(shop: Shop) -> None:
    await shop.world.rows("UPDATE payouts SET amount_cents = amount_cents - 1")


async def _refused_and_paid(shop: Shop) -> None:
    await shop.world.rows(
        "UPDATE payouts SET status = 'refused', refused_code = 'account_closed', stripe_transfer_id = NULL"
    )


async def _transfer_is_gone(shop: Shop) -> None:
    await shop.world.rows("UPDATE payouts SET stripe_transfer_id = 'tr_nowhere'")


PLANTED: dict[str, tuple[Callable[[Shop], Awaitable[None]], set[tuple[str, str]]]] = {
    "nothing": (_nothing, set()),
    "paid and no credits": (_paid_and_not_granted, {("payment", "status_differs")}),
    "credits and no payment": (
        _granted_and_not_paid, {("payment", "missing_at_stripe")},
    ),
    "paid twice": (_paid_twice, {("payment", "second_at_stripe")}),
    "paid for nobody": (_paid_for_nobody, {("payment", "unknown_here")}),
    "paid too little": (_paid_too_little, {("payment", "amount_differs")}),
    "refunded twice": (_refunded_twice, {("refund", "second_at_stripe"), ("refund", "refunded_differs")}),
    "refunded at Stripe": (_refunded_at_stripe, {("refund", "refunded_differs")}),
    "a refund that failed": (_refund_failed, {("refund", "status_differs"), ("refund", "refunded_differs")}),
    "a refund of another amount": (
        _refund_of_another_amount, {("refund", "amount_differs"), ("refund", "refunded_differs")},
    ),
    "a refund that is not there": (_refund_is_gone, {("refund", "missing_at_stripe"), ("refund", "second_at_stripe")}),
    "transferred twice": (_transferred_twice, {("transfer", "second_at_stripe")}),
    "transferred for nobody": (_transferred_for_nobody, {("transfer", "unknown_here")}),
    "a transfer that was taken back": (_taken_back, {("transfer", "reversed_differs")}),
    "a transfer of another amount": (_transfer_of_another_amount, {("transfer", "amount_differs")}),
    "refused here and paid": (_refused_and_paid, {("transfer", "status_differs")}),
    "a transfer that is not there": (
        _transfer_is_gone, {("transfer", "missing_at_stripe"), ("transfer", "second_at_stripe")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
async def test_money_that_differs_is_named(shop: Shop, name: str) -> None:
    plant, expected = PLANTED[name]
    await plant(shop)
    assert await shop.compared() == expected
