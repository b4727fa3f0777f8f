"""Plans and billing: what is for sale, and how the account pays."""

from datetime import datetime

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan. Casts cost the same on every plan; a plan says how they may be paid."""

    id: str
    """free, pro or enterprise."""
    name: str
    monthly_cents: int | None = None
    """None where it is not known at the moment, or nobody subscribes to it here."""
    currency: str = "usd"
    interval: str | None = None
    free_casts_per_month: int = 0
    metered: bool = False
    """Whether casts beyond the free ones and credits are billed by the month."""
    per_cast_micros: int = 0
    per_gfuel_micros: int = 0
    available: bool = False


class FreeCasts(msgspec.Struct, frozen=True, kw_only=True):
    """The free casts of the month."""

    limit: int
    used: int
    remaining: int


class Billing(msgspec.Struct, frozen=True, kw_only=True):
    """How the account pays."""

    plan: str
    status: str
    """Stripe's word for the subscription; `none`: there never was one."""
    billing_enabled: bool
    metered: bool
    """Whether casts that neither the free ones nor credits pay for are accepted now."""
    spend_paused: bool
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False
    ends_at: datetime | None = None
    payment_overdue: bool = False
    grace_until: datetime | None = None
    """A payment failed; metered casts go on until then."""
    free: FreeCasts
    spent_micros: int
    held_micros: int
    resets_at: datetime
    per_cast_micros: int = 0
    """What the account pays for a cast, which may have been agreed on with it."""
    per_gfuel_micros: int = 0


class BillingPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page at Stripe, for the account's owner alone and for a while."""

    url: str
