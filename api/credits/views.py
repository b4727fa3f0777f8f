"""Credits as they are sent and shown, in AuthorWorks' words; what it did not have stands beside them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from domain.model.credits import (
    GRANT_MICROS_MAX,
    REASON_CHARACTERS_MAX,
    REFERENCE_CHARACTERS_MAX,
    Balance,
    Order,
    Package,
    whole_credits,
)
from domain.model.pricing import MICROS_PER_CENT
from domain.model.top_up import CAP_CENTS_MAX, AutoTopUp
from domain.store.credit_grants import StoredGrant, Transaction

Credits = Annotated[int, msgspec.Meta(ge=1, le=GRANT_MICROS_MAX)]
Reason = Annotated[str, msgspec.Meta(max_length=REASON_CHARACTERS_MAX)]
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=REFERENCE_CHARACTERS_MAX)]
_Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]


class PackageView(msgspec.Struct, frozen=True, kw_only=True):
    """Credits for sale."""

    id: str
    name: str
    credits: int
    price_cents: int
    currency: str = "usd"
    usage_micros: int
    """What the credits are worth in casts."""


class PackageList(msgspec.Struct, frozen=True, kw_only=True):
    """All that is for sale, the smallest first."""

    packages: list[PackageView]


class TopUpView(msgspec.Struct, frozen=True, kw_only=True):
    """When credits are bought by themselves. `paused_at`: a payment failed; setting it again goes on."""

    enabled: bool
    package: str
    threshold: int
    """In credits."""
    monthly_cap_cents: int
    paused_at: datetime | None


class BalanceView(msgspec.Struct, frozen=True, kw_only=True):
    """What the account has of credits, in whole credits rounded down; `*_micros` are exact."""

    user_id: UUID
    """The account's user; of an organisation the account itself."""
    balance: int
    total_purchased: int
    total_consumed: int
    total_granted: int
    """By the operator."""
    total_expired: int
    held: int
    """Of the balance, by open casts, rounded up."""
    available: int
    """What a cast or a service may take now."""
    balance_micros: int
    held_micros: int
    available_micros: int
    credit_micros: int
    """What one credit is worth in casts."""
    auto_top_up: TopUpView | None


class TransactionView(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the balance, in whole credits rounded towards zero; `*_micros` are exact."""

    id: int
    """Counted from 1 without a gap."""
    amount: int
    balance_before: int
    balance_after: int
    transaction_type: str
    """purchase, top_up, grant, casts, cast_refund, consume, expiry, refund, dispute, refund_failed or dispute_won."""
    reason: str
    reference_id: str | None
    reference_type: str | None
    created_at: datetime
    amount_micros: int
    balance_before_micros: int
    balance_after_micros: int
    casts: int
    """How many were settled together, where the change is what they cost."""


class HistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of changes, newest first. `data` are the same rows under the name that every list has."""

    transactions: list[TransactionView]
    count: int
    """Of this page."""
    data: list[TransactionView]
    next_cursor: str | None
    has_more: bool


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `status`: pending, completed, failed, expired, partly_refunded, refunded or disputed."""

    id: UUID
    status: str
    origin: str
    """`checkout`, or `top_up` when it was bought by itself."""
    package: str
    credits: int
    price_cents: int
    currency: str = "usd"
    checkout_url: str | None
    """Where to pay, while it is pending."""
    created_at: datetime
    granted_at: datetime | None


class OrderList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of orders, newest first."""

    data: list[OrderView]
    next_cursor: str | None
    has_more: bool


class CheckoutBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package to buy."""

    package: str | None = None
    """The id of the package."""
    package_id: str | None = None
    """The same, in AuthorWorks' word."""
    success_url: _Url | None = None
    """Where Stripe's page leads when it is paid: a page of this platform or of an origin in CORS_ORIGINS."""
    cancel_url: _Url | None = None
    save_payment_method: bool = False
    """Let the card be kept for automatic top-ups."""


class CheckoutView(msgspec.Struct, frozen=True, kw_only=True):
    """Where to pay. The credits are there as soon as Stripe has the money."""

    order_id: UUID
    session_id: str | None
    checkout_url: str | None
    """Null once the page is over."""
    package: PackageView
    status: str


class AmountBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount of credits. Of another account than the key's own only a key with the scope `service` may ask."""

    amount: Credits
    user_id: UUID | None = None
    """Whose credits: the id of a user or of an account; left out, the key's own."""


class CheckView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether that much is there. What a check found may be gone a moment later: `consume` is what takes it."""

    sufficient: bool
    required: int
    balance: int
    available: int
    missing: int
    """How many more are needed."""


class ConsumeBody(AmountBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credits to take, for what."""

    reason: Reason = ""
    reference_id: _Word | None = None
    reference_type: _Word | None = None


class TopUpBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When credits are to be bought by themselves."""

    enabled: bool
    package: str
    threshold: Credits
    """Below this many available credits the package is bought."""
    monthly_cap_cents: Annotated[int, msgspec.Meta(ge=1, le=CAP_CENTS_MAX)]
    """The most that is spent on it in a calendar month."""


class GrantBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credits to give."""

    handle: str
    """Whose account."""
    credits: Credits
    reason: Reason = ""
    priority: int | None = None
    """The lowest number is used up first; 50 when left out, bought credits have 100."""
    expires_at: datetime | None = None


class GrantView(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that were given."""

    id: UUID
    account_id: UUID
    credits: int
    granted_micros: int
    balance_micros: int
    priority: int
    expires_at: datetime | None
    reason: str
    created_at: datetime


def package_view(package: Package, credit_micros: int) -> PackageView:
    """Return the package with what it is worth."""
    return PackageView(
        id=package.id,
        name=package.name,
        credits=package.credits,
        price_cents=package.price_cents,
        usage_micros=package.credits * credit_micros,
    )


def balance_view(balance: Balance, *, user_id: UUID, credit_micros: int, auto_top_up: AutoTopUp | None) -> BalanceView:
    """Return the balance in credits and micros."""
    return BalanceView(
        user_id=user_id,
        balance=balance.balance_micros // credit_micros,
        total_purchased=balance.purchased_micros // credit_micros,
        total_consumed=balance.consumed_micros // credit_micros,
        total_granted=balance.granted_micros // credit_micros,
        total_expired=balance.expired_micros // credit_micros,
        held=-(-balance.held_micros // credit_micros),
        available=balance.available_micros // credit_micros,
        balance_micros=balance.balance_micros,
        held_micros=balance.held_micros,
        available_micros=balance.available_micros,
        credit_micros=credit_micros,
        auto_top_up=None if auto_top_up is None else top_up_view(auto_top_up, credit_micros),
    )


def top_up_view(wanted: AutoTopUp, credit_micros: int) -> TopUpView:
    """Return what is set."""
    return TopUpView(
        enabled=wanted.enabled,
        package=wanted.package_id,
        threshold=wanted.threshold_micros // credit_micros,
        monthly_cap_cents=wanted.monthly_cap_micros // MICROS_PER_CENT,
        paused_at=wanted.paused_at,
    )


def transaction_view(row: Transaction, credit_micros: int) -> TransactionView:
    """Return the change in credits and micros."""
    return TransactionView(
        id=row.number,
        amount=whole_credits(row.amount_micros, credit_micros),
        balance_before=row.balance_before_micros // credit_micros,
        balance_after=row.balance_after_micros // credit_micros,
        transaction_type=row.kind,
        reason=row.reason,
        reference_id=row.reference_id,
        reference_type=row.reference_type,
        created_at=row.created_at,
        amount_micros=row.amount_micros,
        balance_before_micros=row.balance_before_micros,
        balance_after_micros=row.balance_after_micros,
        casts=row.casts,
    )


def order_view(order: Order) -> OrderView:
    """Return the order as its buyer sees it."""
    return OrderView(
        id=order.id,
        status=order.status,
        origin=order.origin,
        package=order.package_id,
        credits=order.credits,
        price_cents=order.price_micros // MICROS_PER_CENT,
        checkout_url=order.checkout_url if order.status == "pending" else None,
        created_at=order.created_at,
        granted_at=order.granted_at,
    )


def grant_view(grant: StoredGrant, credit_micros: int) -> GrantView:
    """Return the grant."""
    return GrantView(
        id=grant.id,
        account_id=grant.account_id,
        credits=grant.granted_micros // credit_micros,
        granted_micros=grant.granted_micros,
        balance_micros=grant.balance_micros,
        priority=grant.priority,
        expires_at=grant.expires_at,
        reason=grant.reason,
        created_at=grant.created_at,
    )
