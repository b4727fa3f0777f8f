"""The price book. A version is written once and never changes, so readers may keep what they read."""

from datetime import datetime
from typing import Final
from uuid import UUID

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


async def price_of_account(conn: Connection, *, account_id: UUID) -> Price | None:
    """Return what was agreed on with the account and is in force; None: it pays what everybody pays."""
    async with conn.cursor(row_factory=class_row(Price)) as cursor:
        await cursor.execute(_QUERIES["price_of_account"], {"account_id": account_id})
        return await cursor.fetchone()


async def account_price_set(conn: Connection, *, account_id: UUID, version: int | None) -> None:
    """Let the account pay by this version, on plan enterprise, or by everybody's again. Needs its lock."""
    await conn.execute(_QUERIES["account_price_set"], {"account_id": account_id, "version": version})


async def version_next(conn: Connection) -> int:
    """Return the number of the version to be written. Needs the lock of the book."""
    cursor = await conn.execute(_QUERIES["version_next"])
    row = await cursor.fetchone()
    assert row is not None, "an aggregate has one row"
    return row[0]


async def prices_list(conn: Connection) -> list[Price]:
    """Return every version, oldest first."""
    async with conn.cursor(row_factory=class_row(Price)) as cursor:
        await cursor.execute(_QUERIES["prices_list"])
        return await cursor.fetchall()


async def price_insert(conn: Connection, price: Price, *, for_everybody: bool = True, now: datetime) -> None:
    """Write a version; one of that number is an error."""
    row = {**msgspec.structs.asdict(price), "for_everybody": for_everybody, "now": now}
    await conn.execute(_QUERIES["price_insert"], row)
