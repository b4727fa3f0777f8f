"""What pays an invoice of usage: Stripe's checkout gives the card to the subscription alone."""

import random
from collections.abc import Generator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from domain.store.connection import Pool
from gateways.stripe.client import StripeGateway
from local.stripe.fake import PRICE_PRO, FakeStripe
from scheduler.billing import go_on, start
from scheduler.outbox.loop import Outbox
from tests.domain.world import World
from tests.scheduler.billed_many import customers_for, gateway_of, owe

OCTOBER = date(2026, 10, 1)
NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)
MINUTE = 60
BAD = "pm_card_chargeCustomerFail"


@pytest.fixture
def fake(tmp_path: Path) -> Generator[FakeStripe]:
    made = FakeStripe(tmp_path / "stripe")
    made.start()
    yield made
    made.close()


async def subscribe(gateway: StripeGateway, fake: FakeStripe, customer_id: str) -> None:
    """Subscribe as a person does, on Stripe's page."""
    session = await gateway.checkout.subscribe(
        customer_id=customer_id,
        price_id=PRICE_PRO,
        reference="a1",
        metadata={},
        success_url="https://spell.example/done",
        cancel_url="https://spell.example/back",
        key="checkout-1",
    )
    fake.pay(session.id)


async def bill(world: World, pool: Pool, gateway: StripeGateway, customer_id: str) -> None:
    await owe(world, [customer_id], [OCTOBER], random.Random(3))
    await start(pool, OCTOBER, NOW)
    await go_on(pool, NOW)
    await Outbox(pool, gateway).run_once(NOW)


def usage_invoice(fake: FakeStripe) -> dict[str, object]:
    (invoice,) = [
        each for each in fake.invoices() if (each["description"] or "").startswith("Spell Platform API Usage")
    ]
    return invoice


async def test_the_card_of_the_subscription_pays_the_usage(world: World, pool: Pool, fake: FakeStripe) -> None:
    (customer_id,) = await customers_for(fake, 1)
    async with gateway_of(fake) as gateway:
        await subscribe(gateway, fake, customer_id)
        assert (await gateway.customers.retrieve(customer_id)).payment_method_id is None, "as at Stripe"
        await bill(world, pool, gateway, customer_id)
        (subscription,) = await gateway.subscriptions.of_customer(customer_id)
        assert (await gateway.customers.retrieve(customer_id)).payment_method_id == subscription.payment_method_id
    fake.advance(MINUTE)
    assert usage_invoice(fake)["status"] == "paid"


async def test_the_card_a_customer_chose_stays_and_a_newer_one_pays_what_failed(
    world: World, pool: Pool, fake: FakeStripe
) -> None:
    (customer_id,) = await customers_for(fake, 1)
    async with gateway_of(fake) as gateway:
        await subscribe(gateway, fake, customer_id)
        chosen = fake.give_card(customer_id, BAD)
        await bill(world, pool, gateway, customer_id)
        assert (await gateway.customers.retrieve(customer_id)).payment_method_id == chosen
    fake.advance(MINUTE)
    assert usage_invoice(fake)["status"] == "open"
    fake.give_card(customer_id)
    fake.advance(10 * 24 * 60 * MINUTE)
    assert usage_invoice(fake)["status"] == "paid"


async def test_who_has_no_card_is_billed_all_the_same(world: World, pool: Pool, fake: FakeStripe) -> None:
    (customer_id,) = await customers_for(fake, 1)
    async with gateway_of(fake) as gateway:
        await bill(world, pool, gateway, customer_id)
    fake.advance(MINUTE)
    assert usage_invoice(fake)["status"] == "open", "it is owed, and can be paid on Stripe's page"
