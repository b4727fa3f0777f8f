"""What a payment and its checkout at Stripe mean for an order."""

from uuid import UUID

import msgspec
import pytest

from domain.model.credit_orders import DisputeFacts
from domain.model.stripe_objects import CheckoutSession
from domain.model.stripe_purchase import DisputeState, Purchase, facts_of, facts_of_session, order_of

ORDER = "0199e0c4-0000-7000-8000-000000000000"
PURCHASE = Purchase(
    id="pi_1",
    status="succeeded",
    amount_cents=999,
    received_cents=999,
    currency="usd",
    refunded_cents=0,
    disputes=(),
    customer_id="cus_1",
    payment_method_id="pm_1",
    is_reusable=False,
    metadata={"spell_order": ORDER},
)
SESSION = CheckoutSession(
    id="cs_1",
    url=None,
    mode="payment",
    status="complete",
    payment_status="paid",
    client_reference_id=ORDER,
    customer_id="cus_1",
    subscription_id=None,
    payment_intent_id="pi_1",
    amount_total_cents=999,
    currency="usd",
    metadata={"spell_order": ORDER},
)


def purchase(**changes: object) -> Purchase:
    return msgspec.structs.replace(PURCHASE, **changes)


def session(**changes: object) -> CheckoutSession:
    return msgspec.structs.replace(SESSION, **changes)


def test_an_order_is_found_by_what_was_made_for_it() -> None:
    assert order_of({"spell_order": ORDER}) == UUID(ORDER)
    assert order_of({"spell_outbox": ORDER}) == UUID(ORDER)
    assert order_of({}) is None
    assert order_of({"spell_order": "not one of ours"}) is None


@pytest.mark.parametrize(
    ("status", "payment_status", "intent", "payment"),
    [
        ("complete", "paid", "succeeded", "paid"),
        ("complete", "unpaid", "processing", "unpaid"),
        ("complete", "unpaid", "requires_payment_method", "failed"),
        ("complete", "unpaid", "canceled", "failed"),
        # A card was refused: the customer may try another on the same page.
        ("open", "unpaid", "requires_payment_method", "unpaid"),
        ("expired", "unpaid", "requires_payment_method", "expired"),
    ],
)
def test_a_checkout_is_paid_when_its_session_says_so(
    status: str, payment_status: str, intent: str, payment: str
) -> None:
    facts = facts_of(purchase(status=intent), session(status=status, payment_status=payment_status))
    assert (facts.payment, facts.session, facts.payment_id) == (payment, "cs_1", "pi_1")


@pytest.mark.parametrize(
    ("mark", "status", "payment"),
    [
        ("spell_order", "succeeded", "paid"),
        # Its checkout says whether anything more can come of it.
        ("spell_order", "requires_payment_method", "unpaid"),
        ("spell_outbox", "succeeded", "paid"),
        ("spell_outbox", "processing", "unpaid"),
        ("spell_outbox", "requires_payment_method", "failed"),
        ("spell_outbox", "canceled", "failed"),
    ],
)
def test_a_payment_without_its_checkout(mark: str, status: str, payment: str) -> None:
    assert facts_of(purchase(status=status, metadata={mark: ORDER})).payment == payment


def test_a_page_that_nobody_paid() -> None:
    assert facts_of_session(session(status="open")).payment == "unpaid"
    assert facts_of_session(session(status="expired")).payment == "expired"


def test_amounts_are_micros_and_a_card_is_kept_only_where_its_owner_let_it_be() -> None:
    facts = facts_of(purchase(refunded_cents=300))
    assert (facts.paid_micros, facts.refunded_micros) == (9_990_000, 3_000_000)
    assert (facts.payment_method, facts.customer) == (None, None)
    kept = facts_of(purchase(is_reusable=True))
    assert (kept.payment_method, kept.customer) == ("pm_1", "cus_1")


def test_what_was_paid_in_another_currency_buys_nothing() -> None:
    assert facts_of(purchase(currency="jpy")).paid_micros == 0


def test_an_inquiry_is_no_dispute_yet() -> None:
    states = [
        "warning_needs_response", "warning_under_review", "warning_closed", "needs_response", "under_review", "won",
        "lost",
    ]  # fmt: skip
    disputes = tuple(DisputeState(id=state, amount_cents=999, status=state) for state in states)
    assert facts_of(purchase(disputes=disputes)).disputes == tuple(
        DisputeFacts(id=state, money_micros=9_990_000, won=state == "won") for state in states[3:]
    )
