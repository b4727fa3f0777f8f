"""What we read of Stripe's invoices, refunds, payments and transfers: facts of the instant, as in `stripe_objects`."""

from collections.abc import Mapping
from datetime import datetime

import msgspec


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice."""

    id: str
    customer_id: str | None
    status: str | None
    """draft, open, paid, uncollectible or void."""
    total_cents: int
    currency: str
    is_advancing: bool
    """Whether Stripe goes on with it by itself: collects it, and tries again what failed."""
    number: str | None
    hosted_url: str | None
    pdf_url: str | None
    attempts: int
    """How often Stripe tried to collect it."""
    next_payment_attempt_at: datetime | None
    metadata: Mapping[str, str]


class InvoiceItem(msgspec.Struct, frozen=True, kw_only=True):
    """A line to be of an invoice."""

    id: str
    amount_cents: int
    metadata: Mapping[str, str]


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back to who paid it."""

    id: str
    status: str | None
    """pending, requires_action, succeeded, failed or canceled."""
    amount_cents: int
    metadata: Mapping[str, str]


class PaymentIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A payment, or the attempt at one."""

    id: str
    status: str
    """succeeded, processing, canceled, or what it waits for (requires_…)."""
    amount_cents: int
    charge_id: str | None
    metadata: Mapping[str, str]


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Money that went to a connected account."""

    id: str
    destination_id: str | None
    amount_cents: int
    reversed_cents: int
    """What of it was taken back since."""
    metadata: Mapping[str, str]


class ConnectedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Who is paid: a creator's own account at Stripe, of which the platform knows no more than this."""

    id: str
    details_submitted: bool
    """Whether its owner went through Stripe's page."""
    transfers_active: bool
    """Whether Stripe takes transfers for it."""
    payouts_enabled: bool
    """Whether Stripe hands on what is on it to a bank."""
    disabled_reason: str | None
    metadata: Mapping[str, str]
    is_deleted: bool = False


class OnboardingLink(msgspec.Struct, frozen=True, kw_only=True):
    """One visit to the page where a creator tells Stripe who he is, and which bank account is his."""

    url: str
    expires_at: datetime
