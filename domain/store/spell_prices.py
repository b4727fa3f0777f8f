"""What creators ask for their versions: rows that never change. Others read them too, so this needs Role.ENGINE."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from psycopg import AsyncCursor

from domain.model.creator_price import PriceChange
from domain.store.connection import Connection, type_row
from domain.store.queries import load

_QUERIES: Final = load(__file__)
_decode: Final = msgspec.json.Decoder(list[PriceChange]).decode


async def ask_latest(connection: Connection, version_ids: Sequence[UUID]) -> AsyncCursor[type_row]:
    """Ask for the newest price of each version, in a pipeline; `latest_of` reads the answer."""
    return await connection.execute(_QUERIES["prices_latest"], {"version_ids": list(version_ids)}, binary=True)


async def latest_of(cursor: AsyncCursor[type_row]) -> list[PriceChange]:
    """Return what was asked for; versions that never had a price are left out."""
    row = await cursor.fetchone()
    assert row is not None, "an aggregate makes one row"
    return _decode(row[0])


async def prices_latest(connection: Connection, version_ids: Sequence[UUID]) -> dict[UUID, PriceChange]:
    """Return the newest price of each of these versions that ever had one."""
    changes = await latest_of(await ask_latest(connection, version_ids))
    return {change.version_id: change for change in changes}


async def price_insert(connection: Connection, change: PriceChange, *, account_id: UUID) -> None:
    """Write a price; the caller holds the spell's lock, so that numbers follow each other."""
    parameters = {
        "version_id": change.version_id,
        "number": change.number,
        "account_id": account_id,
        "announced_ms": change.announced_ms,
        "effective_ms": change.effective_ms,
        "before_per_cast": change.before.per_cast_micros,
        "before_per_output_kib": change.before.per_output_kib_micros,
        "before_per_unit": change.before.per_unit_micros,
        "per_cast": change.after.per_cast_micros,
        "per_output_kib": change.after.per_output_kib_micros,
        "per_unit": change.after.per_unit_micros,
        "units_max": change.after.units_max,
    }
    await connection.execute(_QUERIES["price_insert"], parameters)


async def clock_us(connection: Connection) -> int:
    """Return epoch microseconds by Postgres' clock."""
    cursor = await connection.execute(_QUERIES["clock_read"])
    row = await cursor.fetchone()
    assert row is not None, "there is always a time"
    return row[0]
