"""What an account used, added up: months, and cells of a table that a spreadsheet takes for nothing but text."""

import re
from datetime import date, timedelta
from typing import Final

import msgspec

from domain.model.periods import next_month

# A spreadsheet runs a cell that begins with one of these as a formula.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_MONTH: Final = re.compile(r"(2[0-9]{3})-(0[1-9]|1[0-2])")


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over casts that have ended."""

    casts: int = 0
    failed: int = 0
    fuel: int = 0
    cpu_us: int = 0
    cost_micros: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})

    def __sub__(self, other: "Tally") -> "Tally":
        return Tally(**{name: getattr(self, name) - getattr(other, name) for name in self.__struct_fields__})


def parse_month(text: str) -> date | None:
    """Return the first day of the month `text` (YYYY-MM, from 2000 on) names, or None."""
    match = _MONTH.fullmatch(text)
    return None if match is None else date(int(match[1]), int(match[2]), 1)


def months_until(last: date, count: int) -> list[date]:
    """Return the first days of `count` months in order, ending with the month `last` begins."""
    months = [last.replace(day=1)]
    while len(months) < count:
        months.insert(0, (months[0] - timedelta(days=1)).replace(day=1))
    return months


def days_of(month: date, today: date) -> list[date]:
    """Return the days of a month in order, as far as they have begun by `today`."""
    end = min(next_month(month), today + timedelta(days=1))
    return [month + timedelta(days=day) for day in range(max(0, (end - month).days))]


def plain_cell(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula: with an apostrophe before what would begin one."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
