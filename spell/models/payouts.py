"""Payouts: what a creator is owed, whether he can be paid, and what he was paid."""

from datetime import datetime

import msgspec


class PayoutAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The creator's account at Stripe, and what is owed to him."""

    status: str
    """`none`, `incomplete` (go through Stripe's page), `active` (can be paid), `disabled` (Stripe asks for more)."""
    stripe_account_id: str | None = None
    payouts_enabled: bool = False
    """Whether Stripe hands on what is on it to a bank."""
    disabled_reason: str | None = None
    payable_micros: int = 0
    """Negative: taken off the next payouts."""
    held_back_micros: int = 0
    """What of it became payable lately, and waits."""
    paid_from_cents: int = 0
    currency: str = "usd"


class Payout(msgspec.Struct, frozen=True, kw_only=True):
    """A payout."""

    id: str
    period: str
    status: str
    """`pending`, `paid`, `failed` (owed as before) or `reversed` (taken back, and owed again)."""
    amount_cents: int
    reversed_cents: int = 0
    currency: str = "usd"
    stripe_transfer_id: str | None = None
    failure_code: str | None = None
    created_at: datetime
    finished_at: datetime | None = None


class OnboardingPage(msgspec.Struct, frozen=True, kw_only=True):
    """Stripe's page for the account's owner alone, for one visit and some minutes."""

    url: str
    expires_at: datetime
