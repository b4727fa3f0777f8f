"""Budgets as they are asked for and shown: cents at the edge, micros inside, one window for each period."""

from datetime import date, datetime
from functools import lru_cache
from typing import Final, Literal
from uuid import UUID, uuid5

import msgspec

from domain.model.errors import Code, Fault, refuse
from domain.model.periods import Period
from domain.model.pricing import MICROS_PER_CENT

Scope = Literal["account", "key", "spell"]

# 100 million dollars: far above any account, far below what bigint micros hold when many are added up.
LIMIT_CENTS_MAX: Final = 10_000_000_000
# Admission reads every budget of an account under its lock; this many still read in a fraction of a millisecond.
BUDGETS_PER_ACCOUNT_MAX: Final = 100


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of one scope and period, with its window of the period that holds the instant it was read at."""

    id: UUID
    account_id: UUID
    scope: Scope
    scope_id: UUID
    period: Period
    soft_limit_micros: int | None
    hard_limit_micros: int | None
    notify: bool
    created_at: datetime
    spent_micros: int = 0
    held_micros: int = 0


class BudgetTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What may be changed of a budget, in micros; None is no limit of that kind."""

    soft_limit_micros: int | None
    hard_limit_micros: int | None
    notify: bool


def check_limits(soft_limit_micros: int | None, hard_limit_micros: int | None) -> None:
    """Raise RefusedError (validation) for limits that cannot both be meant."""
    fault: Fault | None = None
    if soft_limit_micros is None and hard_limit_micros is None:
        fault = Fault(location="hard_limit_cents", message="no limit is given", fix="Give a soft or a hard limit.")
    elif soft_limit_micros is not None and hard_limit_micros is not None and soft_limit_micros > hard_limit_micros:
        fault = Fault(
            location="soft_limit_cents",
            message="the soft limit is above the hard one and would never be reached",
            fix="Lower it, or raise the hard limit.",
        )
    if fault is not None:
        raise refuse(Code.VALIDATION, f"The budget does not fit: {fault.message}.", faults=(fault,))


def is_raised(budget: Budget, terms: BudgetTerms) -> bool:
    """Tell whether `terms` allow more than the budget does, or would hide that a limit was reached."""
    return (
        _is_above(terms.hard_limit_micros, budget.hard_limit_micros)
        or _is_above(terms.soft_limit_micros, budget.soft_limit_micros)
        or (budget.notify and not terms.notify)
    )


def _is_above(limit: int | None, before: int | None) -> bool:
    return before is not None and (limit is None or limit > before)


def window_id(budget_id: UUID, starts_on: date) -> UUID:
    """Return the id of a budget's window: it follows from both, so whoever needs the window first can make it."""
    return _window_id(budget_id.int, starts_on)


# Each batch asks for the windows of the accounts that were in the last.
@lru_cache(maxsize=16_384)
def _window_id(budget_number: int, starts_on: date) -> UUID:
    return uuid5(UUID(int=budget_number), starts_on.isoformat())


def micros_of_cents(cents: int | None) -> int | None:
    """Return a limit in micros; None stays no limit."""
    return None if cents is None else cents * MICROS_PER_CENT


def cents_of_limit(micros: int | None) -> int | None:
    """Return a limit in whole cents, rounded down: what is shown is never more than what holds."""
    return None if micros is None else micros // MICROS_PER_CENT


def current_cents(budget: Budget) -> int:
    """Return spent and held together, rounded up to a cent: a budget never looks emptier than it is."""
    return -(-(budget.spent_micros + budget.held_micros) // MICROS_PER_CENT)
