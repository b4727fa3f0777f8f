"""What creators ask for their versions: rows that never change. Others read them too, so this needs Role.ENGINE."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from psycopg.pq.abc import PGresult

from domain.model.creator_price import PriceChange
from domain.store.connection import Connection
from domain.store.exchange import Sent, exchange, value
from domain.store.queries import load

_QUERIES: Final = load(__file__)
_decode: Final = msgspec.json.Decoder(list[PriceChange]).decode


def latest_query(version_ids: Sequence[UUID]) -> Sent:
    """Return the statement that asks for the newest price of each version; `latest_of` reads its answer."""
    return _QUERIES["prices_latest"], {"version_ids": version_ids}


def latest_of(result: PGresult) -> list[PriceChange]:
    """Return what was asked for; versions that never had a price are left out."""
    return _decode(value(result))


async def prices_latest(connection: Connection, version_ids: Sequence[UUID]) -> dict[UUID, PriceChange]:
    """Return the newest price of each of these versions that ever had one."""
    (latest,) = await exchange(connection, latest_query(version_ids))
    return {change.version_id: change for change in latest_of(latest)}


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
