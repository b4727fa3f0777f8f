"""Payouts as they are shown: amounts in Stripe's cents, what is owed in micros."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from domain.model.payouts import MINIMUM_CENTS, Owed, PayoutAccount
from domain.store.payouts import PayoutRow


class OnboardingBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the creator lives."""

    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")] | None = None
    """Two letters of ISO 3166, like `DE`; left out: the platform's. It never changes once the account is made."""


class OnboardingView(msgspec.Struct, frozen=True, kw_only=True):
    """Stripe's page for the account's owner alone, for one visit and some minutes."""

    url: str
    expires_at: datetime


class PayoutAccountView(msgspec.Struct, frozen=True, kw_only=True):
    """The creator's account at Stripe, and what is owed to him."""

    status: Literal["none", "incomplete", "active", "disabled"]
    """`active`: it can be paid. `disabled`: Stripe wants to know more; open the onboarding page again."""
    stripe_account_id: str | None
    payouts_enabled: bool
    """Whether Stripe hands on what is on it to a bank."""
    disabled_reason: str | None
    """Stripe's word for what is missing."""
    payable_micros: int
    """What the platform owes the creator now. Negative: taken off the next payouts."""
    held_back_micros: int
    """What of it became payable lately, and waits."""
    paid_from_cents: int
    """Less than that waits for the next month."""
    currency: str = "usd"


class PayoutView(msgspec.Struct, frozen=True, kw_only=True):
    """A payout."""

    id: UUID
    period: str
    """The month it is the payout of."""
    status: Literal["pending", "paid", "failed", "reversed"]
    """`failed`: owed as before. `reversed`: taken back whole, and owed again."""
    amount_cents: int
    reversed_cents: int
    """What of it was taken back, and is owed again."""
    currency: str = "usd"
    stripe_transfer_id: str | None
    failure_code: str | None
    created_at: datetime
    finished_at: datetime | None


class PayoutList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of payouts, newest first."""

    data: list[PayoutView]
    next_cursor: str | None
    has_more: bool


def account_view(account: PayoutAccount | None, owed: Owed) -> PayoutAccountView:
    """Return how a creator is paid; without an account he never asked to be."""
    return PayoutAccountView(
        status="none" if account is None else account.status,
        stripe_account_id=None if account is None else account.stripe_account_id,
        payouts_enabled=account is not None and account.payouts_enabled,
        disabled_reason=None if account is None else account.disabled_reason,
        payable_micros=owed.payable_micros,
        held_back_micros=max(min(owed.fresh_micros, owed.payable_micros), 0),
        paid_from_cents=MINIMUM_CENTS,
    )


def payout_view(row: PayoutRow) -> PayoutView:
    """Return a payout as it is listed."""
    return PayoutView(
        id=row.id,
        period=f"{row.period:%Y-%m}",
        status=_status(row),
        amount_cents=row.amount_cents,
        reversed_cents=row.reversed_cents,
        stripe_transfer_id=row.stripe_transfer_id,
        failure_code=row.refused_code,
        created_at=row.frozen_at,
        finished_at=row.finished_at,
    )


def _status(row: PayoutRow) -> Literal["pending", "paid", "failed", "reversed"]:
    if row.status == "refused":
        return "failed"
    if row.status == "paid" and row.reversed_cents == row.amount_cents:
        return "reversed"
    return row.status
