"""Inputs, outputs and logs that are no longer kept. Everything here runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


async def lock_expired(connection: Connection, *, now: datetime, limit: int) -> list[tuple[UUID, int]]:
    """Lock at most `limit` casts whose data has expired by `now`; return each with the bytes of its data."""
    cursor = await connection.execute(_QUERIES["expired_lock"], {"now": now, "limit": limit}, binary=True)
    return [(cast_id, size_bytes) for cast_id, size_bytes in await cursor.fetchall()]


async def lock_read(connection: Connection, *, ids: Sequence[UUID]) -> list[UUID]:
    """Lock those of `ids` that were kept until their first reading, and return them."""
    cursor = await connection.execute(_QUERIES["read_lock"], {"ids": list(ids)}, binary=True)
    return [row[0] for row in await cursor.fetchall()]


async def drop_data(connection: Connection, *, ids: Sequence[UUID]) -> None:
    """Empty the data of casts the caller has locked."""
    await connection.execute(_QUERIES["data_drop"], {"ids": list(ids)})


class ChangedDays(msgspec.Struct, frozen=True, kw_only=True):
    """Whose days were set, and what they were."""

    account_id: UUID
    data_days_before: int


async def set_data_days(connection: Connection, *, handle: str, data_days: int) -> ChangedDays | None:
    """Set how long an account's data is kept; return what it was before, or None when there is no such account."""
    parameters = {"handle": handle, "data_days": data_days}
    async with connection.cursor(row_factory=class_row(ChangedDays)) as cursor:
        await cursor.execute(_QUERIES["data_days_set"], parameters)
        return await cursor.fetchone()
