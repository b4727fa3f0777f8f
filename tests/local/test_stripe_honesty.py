"""The stand-in takes no parameter and shows no field that the real library does not know."""

import stripe
from stripe._api_version import _ApiVersion

from local.stripe.api import VERSION
from local.stripe.fake import PRICE_PRO, FakeStripe
from local.stripe.routes import ROUTES
from local.stripe.shapes import INTEGER, METADATA, TEXT, ListOf, Shape, one_of
from tests.local.stripe_types import wrong_fields, wrong_parameters


def test_it_speaks_the_version_of_the_library() -> None:
    assert VERSION == _ApiVersion.CURRENT


def test_every_parameter_is_one_of_the_library() -> None:
    assert [problem for route in ROUTES for problem in wrong_parameters(route.shape)] == []


def test_a_wrong_parameter_would_be_noticed() -> None:
    custom = ListOf({"name": TEXT, "colour": TEXT})
    fields = {
        "auto_advance": TEXT,
        "collection_method": one_of("by_magic"),
        "custom_fields": custom,
        "customer": INTEGER,
        "description": METADATA,
        "made_up": TEXT,
    }
    problems = wrong_parameters(Shape("InvoiceCreateParams", fields))
    assert {problem.split(" ")[1].rstrip(":") for problem in problems} == set(fields)


def test_every_field_is_one_of_the_library(fake: FakeStripe, api: stripe.StripeClient) -> None:
    live_through_everything(fake, api)
    kinds = {kind: fake.objects(kind) for kind in kinds_of(fake)}
    assert sorted(kind for kind, found in kinds.items() if not found) == []
    assert {problem for found in kinds.values() for body in found for problem in wrong_fields(body)} == set()
    about = [event["data"]["object"] for event in fake.events()]
    assert {problem for body in about for problem in wrong_fields(body)} == set()


def test_a_wrong_field_would_be_noticed(fake: FakeStripe) -> None:
    price = fake.object(PRICE_PRO)
    assert wrong_fields(price) == []
    wrong = {**price, "made_up": 1, "currency": 5, "recurring": {**price["recurring"], "phase": "new"}}
    del wrong["type"]
    assert {problem.split(" ")[1].rstrip(":") for problem in wrong_fields(wrong)} == {
        *("made_up", "currency", "recurring", "type")
    }


def kinds_of(fake: FakeStripe) -> list[str]:
    with fake._world.acting():
        return [row[0] for row in fake._store._connection.execute("SELECT DISTINCT kind FROM objects")]


def live_through_everything(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = api.v1.customers.create({"email": "ada@example.com", "name": "Ada", "metadata": {"account": "1"}}).id
    for trial in ("pm_card_visa", "pm_card_chargeCustomerFail", "pm_usBankAccount_success"):
        for mode, items in (
            ("payment", {"price_data": {"currency": "usd", "product_data": {"name": "Credits"}, "unit_amount": 999}}),
            ("subscription", {"price": PRICE_PRO}),
        ):
            session = api.v1.checkout.sessions.create(
                {
                    "mode": mode,
                    "customer": customer,
                    "line_items": [{**items, "quantity": 1}],
                    "success_url": "https://example.com/",
                    "cancel_url": "https://example.com/",
                }
            )
            fake.pay(session.id, trial)
    method = fake.give_card(customer)
    draft = api.v1.invoices.create({"customer": customer, "auto_advance": False, "metadata": {"run": "1"}}).id
    api.v1.invoice_items.create({"customer": customer, "invoice": draft, "amount": 1234, "currency": "usd"})
    api.v1.invoices.finalize_invoice(draft, {"auto_advance": True})
    paid = api.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "off_session": True,
            "confirm": True,
        }
    )
    api.v1.refunds.create({"payment_intent": paid.id, "amount": 100})
    fake.dispute(paid.id)
    fake.advance(40 * 86_400)
