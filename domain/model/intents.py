"""What the outbox does, as it is frozen: everything a step needs to ask Stripe, and nothing it could read otherwise.

Amounts are in cents, because what leaves the platform is.
"""

import msgspec


class ItemIntent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an invoice at Stripe."""

    amount_cents: int
    description: str


class InvoiceIntent(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice of metered use."""

    customer_id: str
    description: str
    total_cents: int
    """The sum of the items, which Stripe's `total` must equal before the invoice is finalized."""
    calls: int
    run_id: str
    items: tuple[ItemIntent, ...]


class RefundIntent(msgspec.Struct, frozen=True, kw_only=True):
    """Money back to who paid."""

    payment_intent_id: str
    amount_cents: int


class TopupIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A charge of a kept payment method, for credits."""

    customer_id: str
    payment_method_id: str
    amount_cents: int
    description: str


class PayoutIntent(msgspec.Struct, frozen=True, kw_only=True):
    """What a creator gets."""

    destination_id: str
    """The connected account."""
    amount_cents: int
    description: str
