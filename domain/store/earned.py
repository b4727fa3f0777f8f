"""What creators are shown of what they earned. Amounts come from the ledger; how often spells were cast from counters.

Needs Role.ENGINE: shares are booked with who pays them. No statement returns whose they were.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.ledger import UNCOLLECTED, creator_of, payable_of
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
# A cast settles in the month it was accepted in or soon after; so long nobody is without a ledger.
_SETTLED_WITHIN: Final = timedelta(days=31)


class EarnedBalance(msgspec.Struct, frozen=True, kw_only=True):
    """What a creator earned in all, less what was paid back, and where it is: the other fields add up to it."""

    earned_micros: int
    pending_micros: int
    payable_micros: int
    """What is owed to him; below zero he owes it."""
    under_way_micros: int
    """In payouts that are not done yet."""
    paid_micros: int
    lost_micros: int
    unbilled_micros: int
    """Of casts while billing was off: nobody pays for them."""


class EarnedMonth(msgspec.Struct, frozen=True, kw_only=True):
    """What was booked in a month."""

    month: date
    earned_micros: int
    refunded_micros: int


class EarnedPart(msgspec.Struct, frozen=True, kw_only=True):
    """What was booked on a day, for a spell, or both."""

    day: date | None
    spell_id: UUID | None
    spell: str | None
    casts: int
    earned_micros: int
    refunded_micros: int


async def balance_read(conn: Connection, *, account_id: UUID) -> EarnedBalance:
    """Return what a creator earned and where it is."""
    parameters = {**_creator(account_id), "payable": payable_of(account_id), "uncollected": UNCOLLECTED}
    async with conn.cursor(row_factory=class_row(EarnedBalance)) as cursor:
        await cursor.execute(_QUERIES["balance_read"], parameters)
        row = await cursor.fetchone()
    assert row is not None, "sums are one row whatever there is"
    return row


async def months_read(conn: Connection, *, account_id: UUID, first: date) -> list[EarnedMonth]:
    """Return what a creator earned in the months since the one that begins with `first`; of some there is nothing."""
    async with conn.cursor(row_factory=class_row(EarnedMonth)) as cursor:
        await cursor.execute(_QUERIES["months_read"], {**_creator(account_id), **_since(first)})
        return await cursor.fetchall()


async def parts_read(
    conn: Connection, *, account_id: UUID, first: date, last: date, by_day: bool, by_spell: bool, limit: int
) -> list[EarnedPart]:
    """Return what a creator earned from the day `first` to the day `last`; days in order, the most earned first."""
    parameters = {
        **_creator(account_id),
        **_since(first),
        "ends": datetime.combine(last + timedelta(days=1), time(), UTC),
        "first": first,
        "last": last,
        "by_day": by_day,
        "by_spell": by_spell,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(EarnedPart)) as cursor:
        await cursor.execute(_QUERIES["parts_read"], parameters)
        return await cursor.fetchall()


def _creator(account_id: UUID) -> dict[str, object]:
    return {"account_id": account_id, "creator": creator_of(account_id)}


def _since(first: date) -> dict[str, object]:
    return {"begins": datetime.combine(first, time(), UTC), "accepted_from": (first - _SETTLED_WITHIN).replace(day=1)}
