"""Days and months of the calendar in UTC, the only one budgets and bills know."""

import enum
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache


class Period(enum.StrEnum):
    """How often a budget starts again."""

    DAILY = "daily"
    MONTHLY = "monthly"


def month_of(instant: datetime) -> date:
    """Return the first day of the month that holds `instant`."""
    return instant.astimezone(UTC).date().replace(day=1)


def starts_on(period: Period, instant: datetime) -> date:
    """Return the first day of the period that holds `instant`."""
    return instant.astimezone(UTC).date() if period is Period.DAILY else month_of(instant)


def resets_at(period: Period, instant: datetime) -> datetime:
    """Return the moment the next period begins."""
    return resets_after(period, starts_on(period, instant))


def resets_after(period: Period, first: date) -> datetime:
    """Return the moment the period ends that begins with the day `first`."""
    following = first + timedelta(days=1) if period is Period.DAILY else next_month(first)
    return datetime(following.year, following.month, following.day, tzinfo=UTC)


def next_month(first: date) -> date:
    """Return the first day of the month after the one that holds `first`."""
    return (first.replace(day=1) + timedelta(days=32)).replace(day=1)


@lru_cache(maxsize=4096)
def day_of_ms(instant_ms: int) -> date:
    """Return the day that holds an instant in epoch milliseconds. Remembered: a batch shares one instant."""
    return datetime.fromtimestamp(instant_ms / 1000, tz=UTC).date()


@lru_cache(maxsize=4096)
def month_of_ms(instant_ms: int) -> date:
    """Return the first day of the month that holds an instant in epoch milliseconds."""
    return day_of_ms(instant_ms).replace(day=1)
