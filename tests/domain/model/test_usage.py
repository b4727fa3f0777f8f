from datetime import date

import pytest

from domain.model.usage import Tally, days_of, months_until, parse_month, plain_cell


def test_tallies_add_up_and_come_apart() -> None:
    one = Tally(casts=1, failed=1, fuel=2, cpu_us=3, cost_micros=4)
    two = Tally(casts=10, fuel=20, cpu_us=30, cost_micros=40)
    assert one + two == Tally(casts=11, failed=1, fuel=22, cpu_us=33, cost_micros=44)
    assert one + two - two == one
    assert sum([], start=Tally()) == Tally()


def test_months_end_with_the_last_and_cross_years() -> None:
    assert months_until(date(2026, 2, 20), 4) == [
        date(2025, 11, 1),
        date(2025, 12, 1),
        date(2026, 1, 1),
        date(2026, 2, 1),
    ]
    assert months_until(date(2026, 3, 31), 1) == [date(2026, 3, 1)]


def test_days_of_a_month_end_with_today() -> None:
    month = date(2026, 2, 1)
    assert days_of(month, date(2026, 2, 2)) == [date(2026, 2, 1), date(2026, 2, 2)]
    assert len(days_of(month, date(2026, 3, 1))) == 28
    assert days_of(month, date(2026, 1, 31)) == []


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-1", "1999-12", "2026-11-01", "٢026-11", "2026-11\n"]
)
def test_what_is_no_month(text: str) -> None:
    assert parse_month(text) is None


def test_a_month_is_its_first_day() -> None:
    assert parse_month("2026-11") == date(2026, 11, 1)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_begins_a_formula(text: str) -> None:
    assert plain_cell(text) == f"'{text}"


def test_other_cells_stay() -> None:
    for text in ("", "ci", "a=b", "'quoted'"):
        assert plain_cell(text) == text
