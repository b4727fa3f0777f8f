"""What accounts used: sums from the counters, and the events one by one. Names need Role.ENGINE: spells are others'."""

from datetime import UTC, date, datetime, time
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.modes import Mode
from domain.model.periods import next_month
from domain.model.usage import Tally
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
# Of 500 casts at most, so that one statement counts them in a tenth of the time that it may take.
COUNTED_BATCHES_MAX: Final = 64


class MonthUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What an account used in a month of one funding."""

    month: date
    funding: str
    tally: Tally


class SubjectUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a key or a spell used. `name` is the key's prefix or `owner/name`; `label` what the key was called."""

    id: UUID
    name: str
    label: str
    tally: Tally


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What a month has used and holds: casts of the free allowance, and micros by list price."""

    free_used: int = 0
    free_held: int = 0
    spent_micros: int = 0
    held_micros: int = 0
    test_casts: int = 0


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One settled cast."""

    id: UUID
    accepted_at: datetime
    finished_at: datetime
    spell: str
    version: str
    key_prefix: str | None
    key_name: str | None
    status: str
    outcome: str
    fuel: int | None
    cpu_us: int
    memory_bytes_peak: int
    wall_us: int
    funding: str
    cost_micros: int


async def count(connection: Connection) -> int:
    """Raise the counters of accounts for casts that ended since, in COUNTED_BATCHES_MAX batches; return how many.

    A statement of its own; several may run at once, and each counts other batches.
    """
    cursor = await connection.execute(_QUERIES["usage_count"], {"batches_max": COUNTED_BATCHES_MAX})
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def months_read(
    conn: Connection, *, account_id: UUID, first: date, last: date, mode: Mode = Mode.LIVE
) -> list[MonthUsage]:
    """Return what the account used from the month `first` to the month `last`; months without casts have no row."""
    parameters = {"account_id": account_id, "first": first, "last": last, "test": mode is Mode.TEST}
    cursor = await conn.execute(_QUERIES["months_read"], parameters)
    return [MonthUsage(month=row[0], funding=row[1], tally=_tally(row[2:])) for row in await cursor.fetchall()]


async def days_read(conn: Connection, *, account_id: UUID, month: date, mode: Mode = Mode.LIVE) -> dict[date, Tally]:
    """Return what the account used on each day of a month on which a cast was accepted."""
    cursor = await conn.execute(_QUERIES["days_read"], _range(account_id, month, mode))
    return {row[0]: _tally(row[1:]) for row in await cursor.fetchall()}


async def keys_read(conn: Connection, *, account_id: UUID, month: date, mode: Mode = Mode.LIVE) -> list[SubjectUsage]:
    """Return what each key used in a month, revoked ones too, the costliest first."""
    return await _subjects(conn, "keys_read", _range(account_id, month, mode))


async def spells_read(
    conn: Connection, *, account_id: UUID, month: date, limit: int, mode: Mode = Mode.LIVE
) -> list[SubjectUsage]:
    """Return what the account used of up to `limit` spells in a month, the costliest first."""
    return await _subjects(conn, "spells_read", {**_range(account_id, month, mode), "limit": limit})


async def allowance_read(conn: Connection, *, account_id: UUID, month: date) -> Allowance:
    """Return what a month has used and holds."""
    async with conn.cursor(row_factory=class_row(Allowance)) as cursor:
        await cursor.execute(_QUERIES["allowance_read"], {"account_id": account_id, "month": month})
        return await cursor.fetchone() or Allowance()


async def events_read(
    conn: Connection, *, account_id: UUID, month: date, after: UUID | None, limit: int, mode: Mode = Mode.LIVE
) -> list[UsageEvent]:
    """Return up to `limit` settled casts that were accepted in a month, oldest first, those behind `after`."""
    parameters = {
        "account_id": account_id,
        "after": after or _first_id(month),
        "ends": _first_id(next_month(month)),
        "limit": limit,
        "test": mode is Mode.TEST,
    }
    async with conn.cursor(row_factory=class_row(UsageEvent)) as cursor:
        await cursor.execute(_QUERIES["events_read"], parameters)
        return await cursor.fetchall()


async def _subjects(conn: Connection, query: str, parameters: dict[str, Any]) -> list[SubjectUsage]:
    cursor = await conn.execute(_QUERIES[query], parameters)
    return [
        SubjectUsage(id=row[0], name=row[1], label=row[2], tally=_tally(row[3:])) for row in await cursor.fetchall()
    ]


def _range(account_id: UUID, month: date, mode: Mode) -> dict[str, Any]:
    return {"account_id": account_id, "begins": month, "ends": next_month(month), "test": mode is Mode.TEST}


def _tally(sums: tuple[Any, ...]) -> Tally:
    casts, failed, fuel, cpu_us, cost_micros = sums
    return Tally(casts=casts, failed=failed, fuel=fuel, cpu_us=cpu_us, cost_micros=cost_micros)


def _first_id(month: date) -> UUID:
    """Return what is below every id of the month and above every one before: a cast id begins with its milliseconds."""
    return UUID(int=int(datetime.combine(month, time(), tzinfo=UTC).timestamp() * 1000) << 80)
