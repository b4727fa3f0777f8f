"""What we read of Stripe's objects: a few fields of each, as facts of the instant they were asked for.

Amounts are in cents here, because they are in Stripe. Ids of Stripe's start with what they name (`cus_`, `sub_`, ...).
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays."""

    id: str
    email: str | None
    metadata: Mapping[str, str]
    payment_method_id: str | None = None
    """What pays invoices that name nothing else; None: nothing does."""
    is_deleted: bool = False


class CheckoutSession(msgspec.Struct, frozen=True, kw_only=True):
    """One visit to Stripe's checkout page, to pay once (`payment`) or to subscribe (`subscription`)."""

    id: str
    url: str | None
    """Where the browser goes; None once the session has ended."""
    mode: str
    """payment, setup or subscription."""
    status: str | None
    """open, complete or expired. A complete one need not be paid yet: see `payment_status`."""
    payment_status: str
    """paid, unpaid or no_payment_required."""
    client_reference_id: str | None
    """Ours, as given when the session was made."""
    customer_id: str | None
    subscription_id: str | None
    payment_intent_id: str | None
    amount_total_cents: int | None
    currency: str | None
    metadata: Mapping[str, str]

    @property
    def is_paid(self) -> bool:
        """Whether the money has come."""
        return self.payment_status == "paid"


class PortalSession(msgspec.Struct, frozen=True, kw_only=True):
    """One visit to the page where customers change cards, see invoices and cancel."""

    id: str
    url: str


class MonthlyPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscription costs each time."""

    id: str
    amount_cents: int | None
    """None of a price that is no plain amount: in tiers, or by what Stripe meters."""
    currency: str
    interval: str | None
    """day, week, month or year; None of a price that is paid once."""
    is_metered: bool
    """Stripe meters it, so that nobody subscribes to a number of them."""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One subscription of a customer, to one price."""

    id: str
    customer_id: str
    status: str
    """incomplete, incomplete_expired, trialing, active, past_due, unpaid, paused or canceled."""
    created_at: datetime
    item_id: str | None
    """The item to change when another price is wanted."""
    price_id: str | None
    current_period_end: datetime | None
    ends_at: datetime | None
    """When it ends, if somebody canceled it; None: it goes on."""
    is_collecting: bool
    """False while its collection is paused (`pause_collection`)."""
    payment_method_id: str | None = None
    """What pays it, and it alone: checkout gives the card to the subscription, not to the customer."""
    latest_invoice_id: str | None
    metadata: Mapping[str, str]
