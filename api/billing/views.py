"""Plans and billing as they are sent and shown."""

from datetime import datetime
from typing import Literal

import msgspec

from domain.model.plans import Plan


class CheckoutBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to subscribe to."""

    plan: Literal["pro", "enterprise"] = "pro"


class ChangeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The plan to go over to; the present one withdraws a cancellation."""

    plan: Literal["pro", "enterprise"]


class UrlView(msgspec.Struct, frozen=True, kw_only=True):
    """A page at Stripe, for the account's owner alone and for a while."""

    url: str


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan. Casts cost what they cost on every plan; a plan says how they may be paid."""

    id: Plan
    name: str
    monthly_cents: int | None
    """In `currency`; null where it is not known at the moment, or nothing one subscribes to here."""
    currency: str
    interval: str | None
    """How often that is due: `month`, as a rule."""
    free_casts_per_month: int
    metered: bool
    """Whether casts beyond the free ones and credits are billed by the month."""
    per_cast_micros: int
    per_gfuel_micros: int
    """Per 10^9 fuel."""
    available: bool
    """Whether one can subscribe to it here."""


class PlanList(msgspec.Struct, frozen=True, kw_only=True):
    """What is for sale."""

    data: list[PlanView]


class FreeView(msgspec.Struct, frozen=True, kw_only=True):
    """The free casts of the month."""

    limit: int
    used: int
    """Those that are open are counted."""
    remaining: int


class BillingView(msgspec.Struct, frozen=True, kw_only=True):
    """How the account pays."""

    plan: str
    status: str
    """Stripe's word for the subscription; `none`: there never was one."""
    billing_enabled: bool
    """false: this platform bills nobody."""
    metered: bool
    """Whether casts that neither the free ones nor credits pay for are accepted now."""
    spend_paused: bool
    current_period_end: datetime | None
    cancel_at_period_end: bool
    ends_at: datetime | None
    """When the subscription ends, where it was canceled."""
    payment_overdue: bool
    grace_until: datetime | None
    """A payment failed; metered casts go on until then."""
    free: FreeView
    spent_micros: int
    """Of this month, by list price, whoever paid."""
    held_micros: int
    resets_at: datetime
    per_cast_micros: int
    """What the account pays for a cast, which may have been agreed on with it."""
    per_gfuel_micros: int
    """Per 10^9 fuel."""
