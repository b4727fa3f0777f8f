"""Budgets, and the money that open casts hold."""

from datetime import datetime

import msgspec

from spell.models.page import Page


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands in its current period. `current_cents` is spent and held together, rounded up."""

    id: str
    scope: str
    """`account`, `key` or `spell`."""
    scope_id: str
    period: str
    """`daily` or `monthly`."""
    soft_limit_cents: int | None = None
    hard_limit_cents: int | None = None
    current_cents: int
    soft_limit_micros: int | None = None
    hard_limit_micros: int | None = None
    spent_micros: int
    held_micros: int
    remaining_micros: int | None = None
    """Room under the hard limit; None without one."""
    notify: bool = True
    resets_at: datetime
    created_at: datetime


class BudgetList(msgspec.Struct, frozen=True, kw_only=True):
    """Every budget, newest first; beside them the account's own monthly one, None while there is none."""

    id: str | None = None
    period: str
    soft_limit_cents: int | None = None
    hard_limit_cents: int | None = None
    current_cents: int
    data: tuple[Budget, ...]


class BudgetUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the account used of this month, and how each of its budgets stands."""

    period: str
    soft_limit_cents: int | None = None
    hard_limit_cents: int | None = None
    current_cents: int
    spent_micros: int
    held_micros: int
    resets_at: datetime
    data: tuple[Budget, ...]


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """An open cast and the money it holds."""

    cast_id: str
    key_id: str | None = None
    spell_id: str
    status: str
    held_micros: int
    funding: str
    accepted_at: datetime
    age_ms: int
    deadline_at: datetime


class HoldPage(Page[Hold], frozen=True, kw_only=True):
    """Some open casts, and all of them added up."""

    open_casts: int
    held_micros: int
