"""Periods of subscriptions, and which part of a price a part of a period is."""

import calendar
from datetime import UTC, datetime, timedelta
from typing import Final

_DAYS: Final = {"day": 1, "week": 7}
_MONTHS: Final = {"month": 1, "year": 12}


def border(anchor: int, interval: str, count: int, number: int) -> int:
    """Return the start of a period: `number` periods after the anchor, on its day or a month's last one."""
    start = datetime.fromtimestamp(anchor, UTC)
    if interval in _DAYS:
        return int((start + timedelta(days=_DAYS[interval] * count * number)).timestamp())
    months = start.month - 1 + _MONTHS[interval] * count * number
    year, month = start.year + months // 12, months % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def prorated(amount_cents: int, part_s: int, whole_s: int) -> int:
    """Return the part of a price, rounded half up."""
    assert 0 <= part_s <= whole_s, "a part lies within the whole"
    return (2 * amount_cents * part_s + whole_s) // (2 * whole_s) if whole_s else 0
