"""The price book. A version is written once and never changes, so readers may keep what they read."""

from datetime import datetime
from typing import Final

import msgspec
from psycopg.rows import class_row

from domain.model.pricing import Price
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


async def prices_lock(conn: Connection) -> None:
    """Keep other writers out until the transaction ends."""
    await conn.execute(_QUERIES["prices_lock"])


async def price_latest(conn: Connection) -> Price | None:
    """Return the price of the day; None before the first release wrote one."""
    async with conn.cursor(row_factory=class_row(Price)) as cursor:
        await cursor.execute(_QUERIES["price_latest"])
        return await cursor.fetchone()


async def prices_list(conn: Connection) -> list[Price]:
    """Return every version, oldest first."""
    async with conn.cursor(row_factory=class_row(Price)) as cursor:
        await cursor.execute(_QUERIES["prices_list"])
        return await cursor.fetchall()


async def price_insert(conn: Connection, price: Price, *, now: datetime) -> None:
    """Write a version; one of that number is an error."""
    await conn.execute(_QUERIES["price_insert"], {**msgspec.structs.asdict(price), "now": now})
