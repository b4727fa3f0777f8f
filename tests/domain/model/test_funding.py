"""Grants: in what order they pay, how much of them is free to take, what each part of a hold spends."""

from datetime import timedelta
from uuid import UUID

import pytest

from domain.model.funding import Grant, GrantPart, spend_parts, take_from_grants
from tests.domain.model.states import NOW, grant


def parts(*pairs: tuple[int, int]) -> tuple[GrantPart, ...]:
    return tuple(GrantPart(grant_id=UUID(int=number), micros=micros) for number, micros in pairs)


def test_the_lowest_priority_number_pays_first_then_what_expires_first_then_the_first_id() -> None:
    day = timedelta(days=1)
    grants = [
        grant(5, 1, priority=2, expires_at=NOW),
        grant(4, 1),
        grant(2, 1, expires_at=NOW + day),
        grant(3, 1),
        grant(1, 1, expires_at=NOW + 2 * day),
    ]
    assert [one.id.int for one in sorted(grants, key=Grant.order)] == [2, 1, 3, 4, 5]


@pytest.mark.parametrize(
    ("needed", "taken"),
    [(1, parts((1, 1))), (10, parts((1, 10))), (11, parts((1, 10), (3, 1))), (30, parts((1, 10), (3, 20))), (31, None)],
)
def test_what_is_held_is_not_taken_again(needed: int, taken: tuple[GrantPart, ...] | None) -> None:
    grants = [grant(1, 15, held_micros=5), grant(2, 5, held_micros=5), grant(3, 20)]
    assert take_from_grants(grants, needed, NOW) == taken


def test_what_expires_now_has_expired() -> None:
    moment = timedelta(microseconds=1)
    assert take_from_grants([grant(1, 5, expires_at=NOW)], 1, NOW) is None
    assert take_from_grants([grant(1, 5, expires_at=NOW + moment)], 1, NOW) == parts((1, 1))


def test_the_last_micro_of_a_grant_is_taken() -> None:
    assert take_from_grants([grant(1, 6, held_micros=5)], 1, NOW) == parts((1, 1))


def test_no_grants_cover_nothing() -> None:
    assert take_from_grants([], 1, NOW) is None


@pytest.mark.parametrize(
    ("cost", "spent"),
    [
        (0, parts((1, 0), (2, 0))),
        (4, parts((1, 4), (2, 0))),
        (10, parts((1, 10), (2, 0))),
        (12, parts((1, 10), (2, 2))),
        (15, parts((1, 10), (2, 5))),
    ],
)
def test_parts_are_spent_in_the_order_they_were_held(cost: int, spent: tuple[GrantPart, ...]) -> None:
    assert spend_parts(parts((1, 10), (2, 5)), cost) == spent


def test_more_than_was_held_is_an_impossible_state() -> None:
    with pytest.raises(AssertionError, match=r"^a charge is never more than its hold$"):
        spend_parts(parts((1, 10)), 11)
