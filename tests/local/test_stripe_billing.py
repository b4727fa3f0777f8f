"""Invoices, subscriptions, checkout and the clock, as Stripe has them."""

import itertools
from typing import Any

import pytest
import stripe

from local.stripe.fake import PRICE_ENTERPRISE, PRICE_PRO, FakeStripe
from tests.local.conftest import Receiver

DAY = 86_400
BACK = "https://platform.example/back?session={CHECKOUT_SESSION_ID}"


def customer_of(api: stripe.StripeClient) -> str:
    return api.v1.customers.create({"email": "ada@example.com"}).id


def draft_of(api: stripe.StripeClient, customer: str, *amounts: int, **fields: Any) -> str:
    draft = api.v1.invoices.create({"customer": customer, "auto_advance": False, "metadata": {"run": "r1"}, **fields})
    for amount in amounts:
        api.v1.invoice_items.create(
            {"customer": customer, "invoice": draft.id, "amount": amount, "currency": "usd", "description": "usage"}
        )
    return draft.id


def session_of(api: stripe.StripeClient, customer: str | None, mode: str = "payment", **fields: Any) -> Any:
    credit = {"currency": "usd", "product_data": {"name": "1,000 credits"}, "unit_amount": 999}
    sold = {"price": PRICE_PRO} if mode == "subscription" else {"price_data": credit}
    terms: Any = {"mode": mode, "success_url": BACK, "line_items": [{**sold, "quantity": 1}], **fields}
    return api.v1.checkout.sessions.create(terms | ({"customer": customer} if customer else {}))


def test_an_invoice_is_collected_only_when_it_advances(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    fake.give_card(customer)
    stays, goes = draft_of(api, customer, 1_000, 234), draft_of(api, customer, 1_000, 234)
    assert api.v1.invoices.finalize_invoice(stays).status == "open"
    assert api.v1.invoices.finalize_invoice(goes, {"auto_advance": True}).status == "open"
    fake.advance(30 * DAY)
    assert [api.v1.invoices.retrieve(each).status for each in (stays, goes)] == ["open", "paid"]
    paid = api.v1.invoices.retrieve(goes, {"expand": ["payments.data.payment.payment_intent"]})
    assert (paid.total, paid.amount_paid, paid.payments.data[0].payment.payment_intent.amount) == (1_234,) * 3
    assert api.v1.invoices.pay(stays).status == "paid"


def test_an_invoice_without_money_is_tried_again_and_given_up(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    fake.give_card(customer, "pm_card_chargeCustomerFail")
    invoice = draft_of(api, customer, 1_000)
    api.v1.invoices.finalize_invoice(invoice, {"auto_advance": True})
    fake.advance(60)
    first = api.v1.invoices.retrieve(invoice)
    assert (first.status, first.attempt_count, first.attempted) == ("open", 1, True)
    assert first.next_payment_attempt == pytest.approx(fake.now + 3 * DAY, abs=120)
    fake.advance(60 * DAY)
    last = api.v1.invoices.retrieve(invoice)
    assert (last.status, last.attempt_count, last.next_payment_attempt) == ("open", 4, None)
    failed = fake.events("invoice.payment_failed")
    gaps = [round((b["created"] - a["created"]) / DAY) for a, b in itertools.pairwise(failed)]
    assert gaps == [3, 5, 7]
    assert api.v1.invoices.mark_uncollectible(invoice).status == "uncollectible"
    fake.give_card(customer)
    assert api.v1.invoices.pay(invoice).status == "paid"


def test_a_new_card_pays_at_the_next_attempt(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    invoice = draft_of(api, customer, 1_000)
    api.v1.invoices.finalize_invoice(invoice, {"auto_advance": True})
    fake.advance(60)
    assert fake.customers()[0]["delinquent"] is True
    fake.give_card(customer)
    fake.advance(3 * DAY)
    assert api.v1.invoices.retrieve(invoice).status == "paid"
    assert fake.customers()[0]["delinquent"] is False


def test_a_final_invoice_does_not_change(api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    invoice = draft_of(api, customer, 1_000)
    final = api.v1.invoices.finalize_invoice(invoice)
    assert final.number is not None
    with pytest.raises(stripe.InvalidRequestError):
        draft_item(api, customer, invoice)
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.invoices.finalize_invoice(invoice)
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.invoices.delete(invoice)
    assert api.v1.invoices.void_invoice(invoice).status == "void"


def draft_item(api: stripe.StripeClient, customer: str, invoice: str) -> None:
    api.v1.invoice_items.create({"customer": customer, "invoice": invoice, "amount": 1, "currency": "usd"})


def test_many_lines_are_read_in_pages(api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    invoice = draft_of(api, customer, *range(100, 125))
    shown = api.v1.invoices.retrieve(invoice)
    assert (len(shown.lines.data), shown.lines.has_more, shown.total) == (10, True, sum(range(100, 125)))
    lines = api.v1.invoices.line_items.list(invoice, {"limit": 10}).auto_paging_iter()
    assert [line.amount for line in lines] == list(range(100, 125))


def test_pending_items_come_along_only_when_asked(api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    item = api.v1.invoice_items.create({"customer": customer, "amount": 700, "currency": "usd"})
    assert api.v1.invoices.create({"customer": customer}).total == 0
    taken = api.v1.invoices.create({"customer": customer, "pending_invoice_items_behavior": "include"})
    assert taken.total == 700
    assert api.v1.invoice_items.list({"customer": customer, "pending": True}).data == []
    api.v1.invoices.delete(taken.id)
    assert [each.id for each in api.v1.invoice_items.list({"customer": customer, "pending": True}).data] == [item.id]


def test_too_little_to_charge_goes_onto_the_balance(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    fake.give_card(customer)
    little = api.v1.invoices.finalize_invoice(draft_of(api, customer, 30), {"auto_advance": True})
    assert (little.status, little.total, little.amount_due, little.ending_balance) == ("paid", 30, 0, 30)
    following = api.v1.invoices.finalize_invoice(draft_of(api, customer, 100), {"auto_advance": True})
    assert (following.total, following.amount_due, following.starting_balance) == (100, 130, 30)


def test_checkout_pays_once(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    session = session_of(api, customer, client_reference_id="order-1", metadata={"order": "1"})
    assert (session.status, session.payment_status, session.url.startswith(f"{fake.url}/stripe/")) == (
        *("open", "unpaid"),
        True,
    )
    assert fake.pay(session.id, "pm_card_chargeCustomerFail")["status"] == "open"
    fake.pay(session.id)
    paid = api.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge", "line_items"]})
    assert (paid.status, paid.payment_status, paid.amount_total) == ("complete", "paid", 999)
    assert paid.payment_intent.latest_charge.paid is True
    assert paid.line_items.data[0].description == "1,000 credits"
    with pytest.raises(Exception, match="complete"):
        fake.pay(session.id)
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.checkout.sessions.expire(session.id)
    assert len(fake.events("checkout.session.completed")) == 1


def test_a_debit_is_paid_or_not_days_later(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    good, bad = session_of(api, customer), session_of(api, customer)
    for session, fails in ((good, False), (bad, True)):
        waiting = fake.pay_by_debit(session.id, fails=fails)
        assert (waiting["status"], waiting["payment_status"]) == ("complete", "unpaid")
    fake.advance(3 * DAY)
    assert fake.events("checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed") == []
    fake.advance(2 * DAY)
    assert [api.v1.checkout.sessions.retrieve(each.id).payment_status for each in (good, bad)] == ["paid", "unpaid"]
    for session, ending in ((good, "succeeded"), (bad, "failed")):
        (event,) = fake.events(f"checkout.session.async_payment_{ending}")
        assert event["data"]["object"]["id"] == session.id


def test_a_session_is_over_after_a_day(fake: FakeStripe, api: stripe.StripeClient) -> None:
    session = session_of(api, None)
    fake.advance(DAY + 1)
    assert api.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert [event["data"]["object"]["id"] for event in fake.events("checkout.session.expired")] == [session.id]


def test_a_subscription_is_renewed_and_ends_when_asked(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    session = session_of(api, customer, "subscription", subscription_data={"metadata": {"account": "7"}})
    subscription = fake.pay(session.id)["subscription"]
    first = api.v1.subscriptions.retrieve(subscription)
    assert (first.status, first.metadata["account"]) == ("active", "7")
    ends = first["items"].data[0].current_period_end
    fake.advance(ends - fake.now + 2 * 3_600)
    renewed = api.v1.subscriptions.retrieve(subscription, {"expand": ["latest_invoice"]})
    assert renewed["items"].data[0].current_period_start == ends
    assert (renewed.latest_invoice.billing_reason, renewed.latest_invoice.status) == ("subscription_cycle", "paid")
    api.v1.subscriptions.update(subscription, {"cancel_at_period_end": True})
    fake.advance(32 * DAY)
    assert api.v1.subscriptions.retrieve(subscription).status == "canceled"
    assert len(fake.events("customer.subscription.deleted")) == 1


def test_a_renewal_that_fails_is_past_due_until_paid(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    subscription: str = fake.pay(session_of(api, customer, "subscription").id)["subscription"]
    bad = fake.give_card(customer, "pm_card_chargeCustomerFail")
    api.v1.subscriptions.update(subscription, {"default_payment_method": bad})
    fake.advance(32 * DAY)
    assert api.v1.subscriptions.retrieve(subscription).status == "past_due"
    good = fake.give_card(customer)
    api.v1.subscriptions.update(subscription, {"default_payment_method": good})
    fake.advance(4 * DAY)
    assert api.v1.subscriptions.retrieve(subscription).status == "active"


@pytest.mark.parametrize(("behavior", "status"), [("keep_as_draft", "draft"), ("void", "void")])
def test_a_pause_collects_nothing_until_it_ends(
    fake: FakeStripe, api: stripe.StripeClient, behavior: str, status: str
) -> None:
    customer = customer_of(api)
    subscription: str = fake.pay(session_of(api, customer, "subscription").id)["subscription"]
    pause: Any = {"behavior": behavior, "resumes_at": fake.now + 40 * DAY}
    api.v1.subscriptions.update(subscription, {"pause_collection": pause})
    fake.advance(33 * DAY)
    assert [invoice["status"] for invoice in fake.invoices()] == ["paid", status]
    assert api.v1.subscriptions.retrieve(subscription).status == "active"
    fake.advance(33 * DAY)
    assert api.v1.subscriptions.retrieve(subscription).pause_collection is None
    assert [invoice["status"] for invoice in fake.invoices()] == ["paid", status, "paid"]
    api.v1.subscriptions.update(subscription, {"pause_collection": {"behavior": "void"}})
    assert api.v1.subscriptions.update(subscription, {"pause_collection": ""}).pause_collection is None


def test_a_customer_who_is_deleted_is_billed_no_more(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    subscription: str = fake.pay(session_of(api, customer, "subscription").id)["subscription"]
    advancing = api.v1.invoices.create({"customer": customer, "auto_advance": True}).id
    draft = draft_of(api, customer, 1_000)
    assert api.v1.customers.delete(customer).deleted is True
    assert api.v1.customers.retrieve(customer).deleted is True
    assert api.v1.subscriptions.retrieve(subscription).status == "canceled"
    fake.advance(60 * DAY)
    assert [api.v1.invoices.retrieve(each).status for each in (advancing, draft)] == ["draft", "draft"]
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.invoices.finalize_invoice(draft)
    with pytest.raises(stripe.InvalidRequestError):
        draft_of(api, customer)


def test_a_change_of_price_is_prorated(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    subscription = api.v1.subscriptions.retrieve(fake.pay(session_of(api, customer, "subscription").id)["subscription"])
    item = subscription["items"].data[0]
    middle = (item.current_period_start + item.current_period_end) // 2
    changed = api.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": item.id, "price": PRICE_ENTERPRISE}],
            "proration_behavior": "always_invoice",
            "proration_date": middle,
        },
    )
    assert changed["items"].data[0].price.id == PRICE_ENTERPRISE
    invoice = api.v1.invoices.retrieve(changed.latest_invoice)
    assert sorted(line.amount for line in invoice.lines.data) == [-1_000, 5_000]
    assert (invoice.total, invoice.status, invoice.billing_reason) == (4_000, "paid", "subscription_update")


def test_a_subscriptions_card_does_not_pay_other_invoices(fake: FakeStripe, api: stripe.StripeClient) -> None:
    """Checkout makes the card the subscription's default, not the customer's: an invoice apart has no card."""
    customer = customer_of(api)
    subscription: str = fake.pay(session_of(api, customer, "subscription").id)["subscription"]
    card = api.v1.subscriptions.retrieve(subscription).default_payment_method
    assert api.v1.customers.retrieve(customer).invoice_settings.default_payment_method is None
    apart, together = draft_of(api, customer, 1_000), draft_of(api, customer, 1_000, subscription=subscription)
    named = draft_of(api, customer, 1_000, default_payment_method=card)
    for invoice in (apart, together, named):
        api.v1.invoices.finalize_invoice(invoice, {"auto_advance": True})
    fake.advance(60)
    assert [api.v1.invoices.retrieve(each).status for each in (apart, together, named)] == ["open", "paid", "paid"]
    api.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": card}})
    fake.advance(3 * DAY)
    assert api.v1.invoices.retrieve(apart).status == "paid"


def test_a_subscription_needs_a_card_that_pays(fake: FakeStripe, api: stripe.StripeClient) -> None:
    customer = customer_of(api)
    fake.give_card(customer, "pm_card_chargeCustomerFail")
    terms: Any = {"customer": customer, "items": [{"price": PRICE_PRO}]}
    with pytest.raises(stripe.CardError):
        api.v1.subscriptions.create({**terms, "payment_behavior": "error_if_incomplete"})
    assert fake.subscriptions() == []
    subscription = api.v1.subscriptions.create(terms)
    assert subscription.status == "incomplete"
    fake.advance(DAY)
    assert api.v1.subscriptions.retrieve(subscription.id).status == "incomplete_expired"


def test_a_dispute_takes_money_back_and_may_be_won(fake: FakeStripe, api: stripe.StripeClient) -> None:
    session = fake.pay(session_of(api, customer_of(api)).id)
    dispute = fake.dispute(session["payment_intent"])
    charge = api.v1.charges.retrieve(dispute["charge"])
    assert (charge.disputed, dispute["amount"], dispute["status"]) == (True, 999, "needs_response")
    fake.decide(dispute["id"], won=True)
    assert api.v1.disputes.retrieve(dispute["id"]).status == "won"
    types = [event["type"] for event in fake.events() if event["type"].startswith("charge.dispute")]
    assert types == [f"charge.dispute.{word}" for word in ("created", "funds_withdrawn", "funds_reinstated", "closed")]


def test_a_refund_may_come_back(fake: FakeStripe, api: stripe.StripeClient) -> None:
    intent: str = fake.pay(session_of(api, customer_of(api)).id)["payment_intent"]
    refund = api.v1.refunds.create({"payment_intent": intent, "amount": 400})
    fake.fail_refund(refund.id)
    failed = api.v1.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert fake.objects("charge")[0]["amount_refunded"] == 0
    assert len(fake.events("refund.failed")) == 1
    balance = api.v1.balance.retrieve()
    assert balance.available[0].amount + balance.pending[0].amount == 999 - 59


def test_events_are_signed_and_sent_until_accepted(
    fake: FakeStripe, api: stripe.StripeClient, receiver: Receiver
) -> None:
    receiver.answers[:] = [500, 404]
    customer = customer_of(api)
    fake.pay(session_of(api, customer).id)
    fake.settle()
    sent = {
        event["id"]: event["type"] for event in fake.events() if event["data"]["object"].get("customer") == customer
    }
    got = {event.id: event.type for event in receiver.events}
    assert set(sent.items()) <= set(got.items())
    assert "checkout.session.completed" in receiver.types()
    assert {event.api_version for event in receiver.events} == {"2026-10-28.endive"}
    tried = [delivery for event in fake.events() for delivery in fake.deliveries(event["id"])]
    assert sorted(delivery.attempts for delivery in tried)[-2:] == [2, 2]


def test_events_come_twice_late_and_in_disorder(fake: FakeStripe, api: stripe.StripeClient, receiver: Receiver) -> None:
    fake.webhooks(duplicate_rate=0.5, delay_s=(0.0, 0.3), seed=7)
    for _ in range(20):
        customer_of(api)
    fake.settle()
    order = [event.id for event in receiver.events]
    made = [event["id"] for event in fake.events("customer.created")]
    assert set(order) == set(made)
    assert len(order) > len(made)
    assert list(dict.fromkeys(order)) != made
    assert fake.send(made[0]) == 200
    assert receiver.events[-1].id == made[0]
