"""A payment made once, for credits, with all that came of it at Stripe: what refunds and disputes took back."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec

from domain.model.credit_orders import DisputeFacts, Facts, Payment
from domain.model.pricing import MICROS_PER_CENT
from domain.model.stripe_objects import CheckoutSession

# Our order's id, on what a checkout makes at Stripe, and the outbox row's, on what a top-up does: that is the same.
ORDER_MARK: Final = "spell_order"
TOP_UP_MARK: Final = "spell_outbox"
CURRENCY: Final = "usd"
# Until then it is an inquiry: Stripe has taken no money.
_MONEY_TAKEN: Final = frozenset({"needs_response", "under_review", "won", "lost"})
# Of a payment that nobody is at work on: what can still become of it is another attempt.
_OVER: Final = frozenset({"requires_payment_method", "canceled"})


class DisputeState(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute of a payment."""

    id: str
    amount_cents: int
    status: str


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """A payment intent, its charge and the charge's disputes, as they were at one instant."""

    id: str
    status: str
    amount_cents: int
    received_cents: int
    currency: str
    refunded_cents: int
    disputes: tuple[DisputeState, ...]
    customer_id: str | None
    payment_method_id: str | None
    is_reusable: bool
    """Whether its card was kept for payments without the customer."""
    metadata: Mapping[str, str]


def order_of(metadata: Mapping[str, str]) -> UUID | None:
    """Return which order something at Stripe was made for; None where it was none of ours."""
    text = metadata.get(ORDER_MARK) or metadata.get(TOP_UP_MARK)
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None


def facts_of(purchase: Purchase, session: CheckoutSession | None = None) -> Facts:
    """Return what Stripe says of an order. `session` is its checkout, where that was asked for.

    What was paid and refunded counts in full: nothing but the package is ever sold in one payment. What was paid in
    another currency buys nothing.
    """
    return Facts(
        payment=_payment(purchase, session),
        paid_micros=purchase.received_cents * MICROS_PER_CENT if purchase.currency == CURRENCY else 0,
        session=None if session is None else session.id,
        payment_id=purchase.id,
        payment_method=purchase.payment_method_id if purchase.is_reusable else None,
        customer=purchase.customer_id if purchase.is_reusable else None,
        refunded_micros=purchase.refunded_cents * MICROS_PER_CENT,
        disputes=tuple(
            DisputeFacts(
                id=dispute.id, money_micros=dispute.amount_cents * MICROS_PER_CENT, won=dispute.status == "won"
            )
            for dispute in purchase.disputes
            if dispute.status in _MONEY_TAKEN
        ),
    )


def facts_of_session(session: CheckoutSession) -> Facts:
    """Return what Stripe says of an order whose checkout nobody has tried to pay."""
    return Facts(payment="expired" if session.status == "expired" else "unpaid", session=session.id)


def _payment(purchase: Purchase, session: CheckoutSession | None) -> Payment:
    if session is not None:
        if session.is_paid:
            return "paid"
        if session.status == "expired":
            return "expired"
        # A card that was refused leaves the page open; a debit that failed days later does not.
        return "failed" if session.status == "complete" and purchase.status in _OVER else "unpaid"
    if purchase.status == "succeeded":
        return "paid"
    return "failed" if TOP_UP_MARK in purchase.metadata and purchase.status in _OVER else "unpaid"
