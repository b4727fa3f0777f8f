"""Usage as it is shown: sums in micros beside the base product's cents, months and days in UTC."""

from datetime import date, datetime
from typing import Literal, TypedDict
from uuid import UUID

import msgspec

from api.budgets.views import BudgetView
from domain.model.modes import Mode
from domain.model.pricing import MICROS_PER_CENT
from domain.model.usage import Tally

Grouping = Literal["spell", "key", "day"]
ExportFormat = Literal["csv", "json"]


class TallyView(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over casts that have ended, by the day they were accepted. `cost_cents` is rounded down."""

    casts: int
    failed: int
    fuel: int
    cpu_ms: float
    cost_micros: int
    cost_cents: int


class Sums(TypedDict):
    """The fields of a TallyView."""

    casts: int
    failed: int
    fuel: int
    cpu_ms: float
    cost_micros: int
    cost_cents: int


class FundingUsage(TallyView, frozen=True, kw_only=True):
    """What was paid from one source: `free`, `credits`, `metered` or `unbilled`; `test` in the usage of test casts."""

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


class UsageView(TallyView, frozen=True, kw_only=True):
    """What the account used of a month. `held_micros` is what casts that are still open may cost at most."""

    month: str
    mode: Mode
    """Of the casts that are counted."""
    by_funding: list[FundingUsage]
    held_micros: int
    free_allowance: FreeAllowance | None
    """Null for test casts, which take nothing of it."""
    test_allowance: TestAllowance | None
    """Of test casts; null for live ones."""
    budget: BudgetView | None
    """The account's own monthly budget as it stands now; null for test casts, which it does not bind."""
    resets_at: datetime
    currency: str = "usd"


class MonthView(TallyView, frozen=True, kw_only=True):
    """What the account used in one month."""

    month: str


class Trends(msgspec.Struct, frozen=True, kw_only=True):
    """Months in order, the present one last; one without casts is all zeros."""

    mode: Mode
    data: list[MonthView]


class Part(TallyView, frozen=True, kw_only=True):
    """A part of a month: of a spell (`name` is owner/name), of a key (its prefix), of a day (YYYY-MM-DD)."""

    id: UUID | None
    """Of the spell or the key; null for a day, and for what was cast without a key."""
    name: str
    label: str
    """What the key is called."""


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """A month taken apart: the costliest first, days in order."""

    month: str
    mode: Mode
    by: Grouping
    total: TallyView
    data: list[Part]
    has_more: bool
    """There are more spells than are shown; `total` counts all."""


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One settled cast in an export."""

    cast_id: UUID
    created_at: datetime
    finished_at: datetime
    spell: str
    version: str
    key_prefix: str
    key_name: str
    status: str
    outcome: str
    fuel: int | None
    cpu_ms: float
    memory_bytes_peak: int
    duration_ms: float
    funding: str
    cost_micros: int


def month_text(month: date) -> str:
    """Return a month as it is written: YYYY-MM."""
    return f"{month:%Y-%m}"


def sums(tally: Tally) -> Sums:
    """Return what a view shows of a tally."""
    return Sums(
        casts=tally.casts,
        failed=tally.failed,
        fuel=tally.fuel,
        cpu_ms=tally.cpu_us / 1000,
        cost_micros=tally.cost_micros,
        cost_cents=tally.cost_micros // MICROS_PER_CENT,
    )
