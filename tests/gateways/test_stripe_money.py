"""Invoices, payments and transfers through the gateway, on the local Stripe: what is made, and found again."""

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.settings import Secret, StripeSettings
from gateways.stripe import finding
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeRefused, StripeUnknown
from local.stripe.fake import FakeStripe

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def fake(tmp_path: Path) -> Generator[FakeStripe]:
    made = FakeStripe(tmp_path / "stripe")
    made.start()
    yield made
    made.close()


@pytest.fixture
async def gateway(fake: FakeStripe) -> AsyncGenerator[StripeGateway]:
    settings = StripeSettings(
        secret_key=Secret(fake.secret_key), webhook_secret=Secret("x"), price_pro=None, api_base=fake.url
    )
    async with StripeGateway(settings) as opened:
        yield opened


async def customer_of(gateway: StripeGateway) -> str:
    return (await gateway.customers.create(email=None, name="Ada", account_id="a", key="customer")).id


async def test_an_invoice_from_the_draft_to_the_page_it_is_paid_on(gateway: StripeGateway, fake: FakeStripe) -> None:
    customer_id = await customer_of(gateway)
    draft = await gateway.invoices.draft(customer_id=customer_id, description="x", metadata={"m": "1"}, key="d")
    assert (draft.status, draft.total_cents, draft.is_advancing, draft.hosted_url) == ("draft", 0, False, None)
    assert await gateway.invoices.draft(customer_id=customer_id, description="x", metadata={"m": "1"}, key="d") == draft
    for number, cents in enumerate((130, -30)):
        await gateway.invoices.add_item(
            draft.id, customer_id=customer_id, amount_cents=cents, description="y", metadata={}, key=f"i{number}"
        )
    assert (await gateway.invoices.retrieve(draft.id)).total_cents == 100
    fake.give_card(customer_id)
    final = await gateway.invoices.finalize(draft.id, key="f")
    assert (final.status, final.is_advancing, final.currency) == ("open", True, "usd")
    assert final.number
    assert final.hosted_url
    assert final.pdf_url
    assert final.customer_id == customer_id
    fake.run_due()
    assert (await gateway.invoices.retrieve(draft.id)).status == "paid"


async def test_one_that_was_finalized_without_is_set_going(gateway: StripeGateway) -> None:
    customer_id = await customer_of(gateway)
    draft = await gateway.invoices.draft(customer_id=customer_id, description="x", metadata={}, key="d")
    await gateway.invoices.add_item(
        draft.id, customer_id=customer_id, amount_cents=75, description="y", metadata={}, key="i"
    )
    finalized = gateway.invoices._link.v1.invoices.finalize_invoice_async(draft.id, {"auto_advance": False})
    assert (await finalized).auto_advance is False
    assert (await gateway.invoices.advance(draft.id, key="a")).is_advancing


async def test_what_is_looked_for_is_found_behind_the_first_page(
    gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "PAGE_MAX", 2)
    customer_id = await customer_of(gateway)
    for number in range(5):
        await gateway.invoices.draft(
            customer_id=customer_id, description="x", metadata={"n": str(number)}, key=f"d{number}"
        )
    for number in range(5):
        found = await gateway.invoices.find(
            customer_id, since=LONG_AGO, matches=lambda one, wanted=str(number): one.metadata["n"] == wanted
        )
        assert found is not None
    assert await gateway.invoices.find(customer_id, since=LONG_AGO, matches=lambda _one: False) is None
    ahead = datetime.now(UTC) + timedelta(days=1)
    assert await gateway.invoices.find(customer_id, since=ahead, matches=lambda _one: True) is None
    assert await gateway.invoices.find("cus_other", since=LONG_AGO, matches=lambda _one: True) is None
    monkeypatch.setattr(finding, "PAGES_MAX", 2)
    with pytest.raises(StripeUnknown, match="nobody can tell"):
        await gateway.invoices.find(customer_id, since=LONG_AGO, matches=lambda _one: False)


async def test_a_kept_card_is_charged_and_the_money_goes_back(gateway: StripeGateway, fake: FakeStripe) -> None:
    customer_id = await customer_of(gateway)
    card = fake.give_card(customer_id)
    paid = await gateway.payments.charge(
        customer_id=customer_id, payment_method_id=card, amount_cents=999, description="x", metadata={"m": "1"}, key="c"
    )
    assert (paid.status, paid.amount_cents) == ("succeeded", 999)
    assert paid.charge_id is not None
    assert (await gateway.payments.retrieve(paid.id)) == paid
    found = await gateway.payments.find(customer_id, since=LONG_AGO, matches=lambda one: one.metadata.get("m") == "1")
    assert found == paid
    refund = await gateway.payments.refund(paid.id, amount_cents=400, metadata={"m": "2"}, key="r")
    assert (refund.amount_cents, refund.status) == (400, "succeeded")
    assert await gateway.payments.find_refund(paid.id, matches=lambda one: one.metadata.get("m") == "2") == refund
    assert await gateway.payments.find_refund(paid.id, matches=lambda one: one.metadata.get("m") == "3") is None
    with pytest.raises(StripeRefused):
        await gateway.payments.refund(paid.id, amount_cents=600, metadata={}, key="too much")


async def test_a_declined_card_says_so(gateway: StripeGateway, fake: FakeStripe) -> None:
    customer_id = await customer_of(gateway)
    card = fake.give_card(customer_id, "pm_card_chargeCustomerFail")
    with pytest.raises(StripeRefused) as refused:
        await gateway.payments.charge(
            customer_id=customer_id, payment_method_id=card, amount_cents=999, description="x", metadata={}, key="c"
        )
    assert refused.value.code == "card_declined"
