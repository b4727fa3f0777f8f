"""The stand-in takes no parameter and shows no field that the real library does not know."""

from typing import Any, get_args

import httpx
import stripe
from stripe._api_version import _ApiVersion

from local.stripe.answers import EXPANDABLE
from local.stripe.api import VERSION
from local.stripe.fake import PRICE_ENTERPRISE, PRICE_PRO, FakeStripe
from local.stripe.routes import ROUTES
from local.stripe.shapes import INTEGER, METADATA, TEXT, ListOf, Shape, one_of
from tests.local.stripe_types import is_expandable, wrong_fields, wrong_parameters

FUNDS_CENTS = 10_000
BACK = "https://platform.example/"
CREDITS = {"price_data": {"currency": "usd", "product_data": {"name": "Credits"}, "unit_amount": 999}}
DEBITS = ("pm_usBankAccount_success", "pm_usBankAccount_insufficientFunds")
KINDS = {
    *("account", "balance_transaction", "billing_portal.configuration", "billing_portal.session", "charge"),
    *("checkout.session", "credit_note", "customer", "dispute", "event", "invoice", "invoice_payment", "invoiceitem"),
    *("line_item", "payment_intent", "payment_method", "price", "product", "refund", "setup_intent", "subscription"),
    *("transfer", "transfer_reversal"),
}
# What is listed over HTTP, with the widest `expand` that makes sense for each.
LISTS = {
    "accounts": "",
    "balance_transactions": "&expand[]=data.source",
    "charges": "&expand[]=data.refunds&expand[]=data.balance_transaction&expand[]=data.customer",
    "checkout/sessions": "&expand[]=data.line_items&expand[]=data.payment_intent&expand[]=data.subscription",
    "credit_notes": "&expand[]=data.invoice&expand[]=data.refunds.refund",
    "customers": "&expand[]=data.subscriptions",
    "disputes": "&expand[]=data.charge",
    "events": "",
    "invoice_payments": "&expand[]=data.payment.payment_intent",
    "invoiceitems": "&expand[]=data.invoice",
    "invoices": "&expand[]=data.payments.data.payment&expand[]=data.confirmation_secret",
    "payment_intents": "&expand[]=data.latest_charge.balance_transaction&expand[]=data.payment_method",
    "prices": "&expand[]=data.product",
    "products": "",
    "refunds": "&expand[]=data.charge",
    "subscriptions": "&status=all&expand[]=data.latest_invoice.payments&expand[]=data.default_payment_method",
    "transfers": "&expand[]=data.destination",
    "webhook_endpoints": "",
    "billing_portal/configurations": "",
}
# What the platform must hear of (row L9 of its features), and what comes along.
TYPES = {
    *("account.updated", "charge.dispute.closed", "charge.dispute.created", "charge.dispute.funds_reinstated"),
    *("charge.dispute.funds_withdrawn", "charge.dispute.updated", "charge.failed", "charge.pending"),
    *("charge.refunded", "charge.succeeded", "checkout.session.async_payment_failed"),
    *("checkout.session.async_payment_succeeded", "checkout.session.completed", "checkout.session.expired"),
    *("credit_note.created", "credit_note.voided", "customer.created", "customer.deleted"),
    *("customer.subscription.created", "customer.subscription.deleted", "customer.subscription.updated"),
    *("customer.updated", "invoice.created", "invoice.deleted", "invoice.finalized", "invoice.marked_uncollectible"),
    *("invoice.paid", "invoice.payment_failed", "invoice.payment_succeeded", "invoice.updated", "invoice.voided"),
    *("payment_intent.canceled", "payment_intent.created", "payment_intent.payment_failed"),
    *("payment_intent.processing", "payment_intent.requires_action", "payment_intent.succeeded"),
    *("payment_method.attached", "payment_method.detached", "refund.created", "refund.failed", "refund.updated"),
    *("transfer.created", "transfer.reversed", "transfer.updated"),
}


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
    kept = [body for kind in kinds_of(fake) for body in fake.objects(kind)]
    told = [event["data"]["object"] for event in fake.events()]
    answers = [seen(fake, f"{path}?limit=100{expanded}") for path, expanded in LISTS.items()]
    assert {body["object"] for body in kept} >= KINDS
    assert {problem for body in [*kept, *told, *answers] for problem in wrong_fields(body)} == set()


def test_the_balance_is_what_came_and_went(fake: FakeStripe, api: stripe.StripeClient) -> None:
    live_through_everything(fake, api)
    came = sum(charge["amount"] for charge in fake.objects("charge", status="succeeded")) + FUNDS_CENTS
    back = sum(refund["amount"] for refund in fake.objects("refund", status="succeeded"))
    lost = sum(dispute["amount"] for dispute in fake.objects("dispute", status="lost"))
    paid_out = sum(each["amount"] - each["amount_reversed"] for each in fake.objects("transfer"))
    fees = sum(each["fee"] for each in fake.objects("balance_transaction"))
    assert min(came, back, lost, paid_out, fees) > 0
    balance = api.v1.balance.retrieve()
    assert balance.available[0].amount + balance.pending[0].amount == came - back - lost - paid_out - fees
    paid = [invoice for invoice in fake.invoices(status="paid") if invoice["amount_paid"]]
    intents = {each["payment"]["payment_intent"]: each["amount_paid"] for each in fake.objects("invoice_payment")}
    assert sum(invoice["amount_paid"] for invoice in paid) == sum(filter(None, intents.values()))


def test_every_event_is_one_of_the_library(fake: FakeStripe, api: stripe.StripeClient) -> None:
    live_through_everything(fake, api)
    known = set(get_args(stripe.Event.__annotations__["type"]))
    assert known > {"invoice.paid"}
    types = {event["type"] for event in fake.events()}
    assert types - known == set()
    assert types >= TYPES


def test_what_can_be_expanded_is_so_in_the_library() -> None:
    wrong = [f"{kind}: {path}" for kind, paths in EXPANDABLE.items() for path in paths if not is_expandable(kind, path)]
    assert wrong == []
    assert not is_expandable("subscription_item", "subscription")
    assert not is_expandable("billing_portal.session", "customer")


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
        kinds = [row[0] for row in fake._store._connection.execute("SELECT DISTINCT kind FROM objects")]
    return [kind for kind in kinds if not kind.startswith("_")]


def seen(fake: FakeStripe, path: str) -> Any:
    answer = httpx.get(f"{fake.url}/v1/{path}", headers={"Authorization": f"Bearer {fake.secret_key}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def live_through_everything(fake: FakeStripe, api: stripe.StripeClient) -> None:
    """Have every kind of object and event come up."""
    customer = api.v1.customers.create({"email": "ada@example.com", "name": "Ada", "metadata": {"account": "1"}}).id
    api.v1.customers.update(customer, {"address": {"city": "London"}, "phone": "1"})
    for trial in ("pm_card_visa", "pm_card_chargeCustomerFail", *DEBITS):
        for mode, sold in (("payment", CREDITS), ("subscription", {"price": PRICE_PRO}), ("setup", None)):
            terms: Any = {"mode": mode, "customer": customer, "success_url": BACK, "cancel_url": BACK}
            items = [] if sold is None else [{**sold, "quantity": 1}]
            invoiced = {"invoice_creation": {"enabled": True}} if trial == "pm_card_visa" and mode == "payment" else {}
            session = api.v1.checkout.sessions.create(terms | ({"line_items": items} if items else {}) | invoiced)
            fake.pay(session.id, trial)
    api.v1.checkout.sessions.expire(api.v1.checkout.sessions.create({**terms, "mode": "setup"}).id)
    method = fake.give_card(customer)
    subscription = fake.subscriptions(status="active")[0]
    item = subscription["items"]["data"][0]["id"]
    change = {"items": [{"id": item, "price": PRICE_ENTERPRISE}], "proration_behavior": "always_invoice"}
    api.v1.subscriptions.update(subscription["id"], change)
    api.v1.subscriptions.cancel(subscription["id"], {"prorate": True, "invoice_now": True})
    other = api.v1.customers.create({"email": "eve@example.com"}).id
    fake.give_card(other, "pm_card_chargeCustomerFail")
    invoices = [invoice_of(api, other) for _ in range(5)]
    for invoice in invoices[1:4]:
        api.v1.invoices.finalize_invoice(invoice, {"auto_advance": True})
    api.v1.invoices.void_invoice(invoices[2])
    api.v1.invoices.mark_uncollectible(invoices[3])
    api.v1.invoices.update(invoices[4], {"description": "changed"})
    api.v1.invoices.delete(invoices[4])
    api.v1.credit_notes.create({"invoice": invoices[1], "amount": 100, "memo": "sorry"})
    api.v1.credit_notes.update(api.v1.credit_notes.create({"invoice": invoices[1], "amount": 100}).id, {"memo": "x"})
    api.v1.credit_notes.void_credit_note(api.v1.credit_notes.list().data[0].id)
    order = {"amount": 500, "currency": "usd", "customer": customer, "payment_method": method}
    paid = api.v1.payment_intents.create({**order, "off_session": True, "confirm": True})
    refund = api.v1.refunds.create({"payment_intent": paid.id, "amount": 100}).id
    api.v1.refunds.update(refund, {"metadata": {"a": "b"}})
    fake.fail_refund(api.v1.refunds.create({"payment_intent": paid.id, "amount": 50}).id)
    api.v1.charges.update(paid.latest_charge, {"description": "x"})
    api.v1.payment_intents.cancel(api.v1.payment_intents.create(order).id)
    asks = api.v1.payment_intents.create({**order, "payment_method": "pm_card_authenticationRequired"}).id
    api.v1.payment_intents.confirm(asks, {"return_url": BACK})
    for won in (True, False):
        disputed = api.v1.payment_intents.create({**order, "off_session": True, "confirm": True})
        dispute = fake.dispute(disputed.id)["id"]
        api.v1.disputes.update(dispute, {"evidence": {"customer_name": "Ada"}, "submit": True})
        fake.decide(dispute, won=won)
    api.v1.billing_portal.sessions.create({"customer": customer})
    pay_creator(fake, api)
    api.v1.prices.update(PRICE_PRO, {"nickname": "Pro"})
    api.v1.products.update("prod_SpellPro", {"description": "x"})
    api.v1.payment_methods.detach(api.v1.payment_methods.list({"customer": customer}).data[-1].id)
    api.v1.customers.delete(api.v1.customers.create({}).id)
    fake.advance(40 * 86_400)


def pay_creator(fake: FakeStripe, api: stripe.StripeClient) -> None:
    account = api.v1.accounts.create({"type": "express", "capabilities": {"transfers": {"requested": True}}}).id
    fake.onboard(account)
    fake.add_funds(FUNDS_CENTS)
    transfer = api.v1.transfers.create({"amount": 600, "currency": "usd", "destination": account}).id
    api.v1.transfers.update(transfer, {"metadata": {"a": "b"}})
    api.v1.transfers.reversals.create(transfer, {"amount": 100})


def invoice_of(api: stripe.StripeClient, customer: str) -> str:
    draft = api.v1.invoices.create({"customer": customer, "auto_advance": False, "metadata": {"run": "1"}}).id
    made = api.v1.invoice_items.create({"customer": customer, "invoice": draft, "amount": 1234, "currency": "usd"}).id
    api.v1.invoice_items.update(made, {"description": "usage"})
    spare = api.v1.invoice_items.create({"customer": customer, "invoice": draft, "amount": 1, "currency": "usd"}).id
    api.v1.invoice_items.delete(spare)
    return draft
