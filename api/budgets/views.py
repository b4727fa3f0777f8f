"""Budgets and holds as they are sent and shown: cents of a US dollar as the base product had them, micros beside."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from domain.model.budgets import LIMIT_CENTS_MAX, Budget, Scope, cents_of_limit, current_cents
from domain.model.periods import Period, resets_at
from domain.model.pricing import MICROS_PER_CENT
from domain.store.budgets import Hold

Cents = Annotated[int, msgspec.Meta(ge=0, le=LIMIT_CENTS_MAX)]


class LimitsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of a budget, in cents of a US dollar; null is no limit of that kind. A PUT replaces all of them."""

    period: Period | None = None
    """`daily` or `monthly` (the default); a budget keeps the one it was made with."""
    soft_limit_cents: Cents | None = None
    hard_limit_cents: Cents | None = None
    notify: bool = True


class BudgetBody(LimitsBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget to make."""

    scope: Scope = "account"
    scope_id: UUID | None = None
    """The key's or the spell's id; the account's own budget needs none."""


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget as it stands in its current period. `current_cents` is spent and held together, rounded up."""

    id: UUID
    scope: Scope
    scope_id: UUID
    period: Period
    soft_limit_cents: int | None
    hard_limit_cents: int | None
    current_cents: int
    soft_limit_micros: int | None
    hard_limit_micros: int | None
    spent_micros: int
    held_micros: int
    remaining_micros: int | None
    """Room under the hard limit, never below 0; null without one."""
    notify: bool
    resets_at: datetime
    created_at: datetime


class BudgetList(msgspec.Struct, frozen=True, kw_only=True):
    """Every budget, newest first; beside them the fields of the account's own monthly one, null while there is none."""

    id: UUID | None
    period: Period
    soft_limit_cents: int | None
    hard_limit_cents: int | None
    current_cents: int
    data: list[BudgetView]
    next_cursor: None = None
    has_more: bool = False


class BudgetUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the account used of this month, and how each of its budgets stands."""

    period: Period
    soft_limit_cents: int | None
    hard_limit_cents: int | None
    current_cents: int
    spent_micros: int
    held_micros: int
    resets_at: datetime
    data: list[BudgetView]


class HoldView(msgspec.Struct, frozen=True, kw_only=True):
    """An open cast and the money it holds."""

    cast_id: UUID
    key_id: UUID | None
    spell_id: UUID
    status: str
    held_micros: int
    funding: str
    accepted_at: datetime
    age_ms: int
    deadline_at: datetime


class HoldList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of open casts, newest first, and all of them added up."""

    open_casts: int
    held_micros: int
    data: list[HoldView]
    next_cursor: str | None
    has_more: bool


def budget_view(budget: Budget, now: datetime) -> BudgetView:
    """Return the budget as it stands at `now`."""
    used = budget.spent_micros + budget.held_micros
    hard = budget.hard_limit_micros
    return BudgetView(
        id=budget.id,
        scope=budget.scope,
        scope_id=budget.scope_id,
        period=budget.period,
        soft_limit_cents=cents_of_limit(budget.soft_limit_micros),
        hard_limit_cents=cents_of_limit(hard),
        current_cents=current_cents(budget),
        soft_limit_micros=budget.soft_limit_micros,
        hard_limit_micros=hard,
        spent_micros=budget.spent_micros,
        held_micros=budget.held_micros,
        remaining_micros=None if hard is None else max(0, hard - used),
        notify=budget.notify,
        resets_at=resets_at(budget.period, now),
        created_at=budget.created_at,
    )


def hold_view(hold: Hold, now: datetime) -> HoldView:
    """Return the open cast as it is at `now`."""
    return HoldView(
        cast_id=hold.id,
        key_id=hold.key_id,
        spell_id=hold.spell_id,
        status=hold.status,
        held_micros=hold.held_micros,
        funding=hold.funding,
        accepted_at=hold.accepted_at,
        age_ms=max(0, int((now - hold.accepted_at).total_seconds() * 1000)),
        deadline_at=hold.deadline_at,
    )


def cents_up(micros: int) -> int:
    """Return whole cents, rounded up."""
    return -(-micros // MICROS_PER_CENT)
