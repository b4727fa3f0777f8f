"""Credits: what they cost, how many there are, and what changed that. Whole credits, and beside them exact micros."""

from datetime import datetime

import msgspec


class CreditPackage(msgspec.Struct, frozen=True, kw_only=True):
    """Credits for sale."""

    id: str
    name: str
    credits: int
    price_cents: int
    currency: str = "usd"
    usage_micros: int
    """What they are worth in casts."""


class AutoTopUp(msgspec.Struct, frozen=True, kw_only=True):
    """When credits are bought by themselves. `paused_at`: a payment failed; setting it again goes on."""

    enabled: bool
    package: str
    threshold: int
    """In credits."""
    monthly_cap_cents: int
    paused_at: datetime | None = None


class CreditBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What the account has of credits, in whole ones rounded down."""

    user_id: str
    balance: int
    total_purchased: int
    total_consumed: int
    total_granted: int = 0
    total_expired: int = 0
    held: int = 0
    """By open casts."""
    available: int
    balance_micros: int
    held_micros: int
    available_micros: int
    credit_micros: int
    """What one credit is worth in casts."""
    auto_top_up: AutoTopUp | None = None


class CreditTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the balance."""

    id: int
    amount: int
    balance_before: int
    balance_after: int
    transaction_type: str
    """purchase, top_up, grant, casts, cast_refund, consume, expiry, refund, dispute, refund_failed or dispute_won."""
    reason: str = ""
    reference_id: str | None = None
    reference_type: str | None = None
    created_at: datetime
    amount_micros: int
    balance_before_micros: int
    balance_after_micros: int
    casts: int = 0


class CreditOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `status`: pending, completed, failed, expired, partly_refunded, refunded or disputed."""

    id: str
    status: str
    origin: str
    package: str
    credits: int
    price_cents: int
    currency: str = "usd"
    checkout_url: str | None = None
    created_at: datetime
    granted_at: datetime | None = None


class CreditCheckout(msgspec.Struct, frozen=True, kw_only=True):
    """Where to pay an order."""

    order_id: str
    session_id: str | None = None
    checkout_url: str | None = None
    """None once the page is over."""
    package: CreditPackage
    status: str


class CreditCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Whether that many credits are there at this moment."""

    sufficient: bool
    required: int
    balance: int
    available: int
    missing: int
