"""Limits as they are asked for and shown, and which change of one lets more through."""

from datetime import UTC, date, datetime
from uuid import UUID

import msgspec
import pytest

from domain.model.budgets import (
    Budget,
    BudgetTerms,
    cents_of_limit,
    check_limits,
    current_cents,
    is_raised,
    micros_of_cents,
    window_id,
)
from domain.model.errors import Code, Fault, RefusedError
from domain.model.periods import Period

NO_LIMIT = Fault(location="hard_limit_cents", message="no limit is given", fix="Give a soft or a hard limit.")
NEVER_REACHED = Fault(
    location="soft_limit_cents",
    message="the soft limit is above the hard one and would never be reached",
    fix="Lower it, or raise the hard limit.",
)
BUDGET = Budget(
    id=UUID(int=1),
    account_id=UUID(int=2),
    scope="account",
    scope_id=UUID(int=2),
    period=Period.DAILY,
    soft_limit_micros=50,
    hard_limit_micros=100,
    notify=True,
    created_at=datetime(2026, 11, 29, tzinfo=UTC),
)
SAME = BudgetTerms(soft_limit_micros=50, hard_limit_micros=100, notify=True)


@pytest.mark.parametrize(("soft", "hard"), [(None, 0), (0, None), (0, 0), (1, 2), (2, 2)])
def test_one_limit_is_enough_and_both_may_be_the_same(soft: int | None, hard: int | None) -> None:
    check_limits(soft, hard)


@pytest.mark.parametrize(("soft", "hard", "fault"), [(None, None, NO_LIMIT), (3, 2, NEVER_REACHED)])
def test_limits_that_cannot_be_meant_are_refused_with_what_to_do(
    soft: int | None, hard: int | None, fault: Fault
) -> None:
    with pytest.raises(RefusedError) as caught:
        check_limits(soft, hard)
    assert caught.value.refusal.code is Code.VALIDATION
    assert caught.value.refusal.faults == (fault,)
    assert caught.value.refusal.detail == f"The budget does not fit: {fault.message}."


@pytest.mark.parametrize(
    ("change", "raised"),
    [
        ({}, False),
        ({"hard_limit_micros": 101}, True),
        ({"hard_limit_micros": 99}, False),
        ({"hard_limit_micros": None}, True),
        ({"soft_limit_micros": 51}, True),
        ({"soft_limit_micros": 49}, False),
        ({"soft_limit_micros": None}, True),
        ({"notify": False}, True),
    ],
)
def test_more_room_or_less_noise_is_a_rise(change: dict[str, object], *, raised: bool) -> None:
    assert is_raised(BUDGET, msgspec.structs.replace(SAME, **change)) is raised


def test_a_limit_where_there_was_none_is_no_rise() -> None:
    silent = msgspec.structs.replace(BUDGET, soft_limit_micros=None, notify=False)
    assert not is_raised(silent, SAME)
    assert not is_raised(silent, msgspec.structs.replace(SAME, soft_limit_micros=None, notify=False))


def test_cents_of_a_limit_are_never_more_than_what_holds() -> None:
    assert [cents_of_limit(micros) for micros in (None, 0, 9_999, 10_000, 19_999)] == [None, 0, 0, 1, 1]
    assert [micros_of_cents(cents) for cents in (None, 0, 7)] == [None, 0, 70_000]


@pytest.mark.parametrize(("spent", "held", "cents"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (9_999, 1, 1), (10_000, 1, 2)])
def test_a_budget_never_looks_emptier_than_it_is(spent: int, held: int, cents: int) -> None:
    assert current_cents(msgspec.structs.replace(BUDGET, spent_micros=spent, held_micros=held)) == cents


def test_a_window_is_found_by_whoever_knows_its_budget_and_day() -> None:
    found = window_id(BUDGET.id, date(2026, 11, 1))
    assert found == UUID("1193333a-54e4-5a24-a4f2-4b7214b73bc6")
    assert len({found, window_id(BUDGET.id, date(2026, 11, 2)), window_id(UUID(int=3), date(2026, 11, 1))}) == 3
