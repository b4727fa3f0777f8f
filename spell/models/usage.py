"""What the account used, summed over casts that have ended."""

from datetime import datetime

import msgspec

from spell.models.budgets import Budget


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over casts. `cost_cents` is rounded down."""

    casts: int
    failed: int
    fuel: int
    cpu_ms: float
    cost_micros: int
    cost_cents: int


class FundingUsage(Tally, frozen=True, kw_only=True):
    """What was paid from one source: `free`, `credits`, `metered` or `unbilled`; `test` for test casts."""

    funding: str


class FreeAllowance(msgspec.Struct, frozen=True, kw_only=True):
    """Casts a month that cost nothing. Open casts hold a place in it until they end."""

    limit: int
    used: int
    held: int
    left: int


class TestAllowance(msgspec.Struct, frozen=True, kw_only=True):
    """Casts of test keys a month, counted when they are accepted."""

    limit: int
    used: int
    left: int


class UsageNow(Tally, frozen=True, kw_only=True):
    """What the account used of a month; `held_micros` is what open casts may cost at most."""

    month: str
    """`2026-11`, in UTC."""
    by_funding: tuple[FundingUsage, ...] = ()
    held_micros: int
    mode: str = "live"
    """Of the casts that are counted."""
    free_allowance: FreeAllowance | None = None
    """None for test casts, which take nothing of it."""
    test_allowance: TestAllowance | None = None
    """Of test casts; None for live ones."""
    budget: Budget | None = None
    """The account's own monthly budget."""
    resets_at: datetime
    currency: str = "usd"


class MonthUsage(Tally, frozen=True, kw_only=True):
    """What the account used in one month."""

    month: str


class UsagePart(Tally, frozen=True, kw_only=True):
    """A part of a month: of a spell (`name` is owner/name), of a key (its prefix), of a day (`2026-11-20`)."""

    id: str | None = None
    name: str
    label: str = ""
    """What the key is called."""


class UsageBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """A month taken apart: the costliest first, days in order. `total` counts more than is shown when `has_more`."""

    month: str
    by: str
    total: Tally
    data: tuple[UsagePart, ...]
    has_more: bool = False
