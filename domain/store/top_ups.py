"""What accounts have set for automatic top-ups, and how they stand."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.top_up import AutoTopUp, Need
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


async def top_up_get(conn: Connection, *, account_id: UUID) -> AutoTopUp | None:
    """Return what the account has set; None when it never has."""
    async with conn.cursor(row_factory=class_row(AutoTopUp)) as cursor:
        await cursor.execute(_QUERIES["top_up_get"], {"account_id": account_id})
        return await cursor.fetchone()


async def top_up_put(conn: Connection, wanted: AutoTopUp) -> None:
    """Set it; what was paused is no more."""
    await conn.execute(_QUERIES["top_up_put"], msgspec.structs.asdict(wanted))


async def top_up_pause(conn: Connection, *, account_id: UUID, now: datetime) -> None:
    """Try no more after a failed payment, until somebody sets it again."""
    await conn.execute(_QUERIES["top_up_pause"], {"account_id": account_id, "now": now})


async def need_read(conn: Connection, *, account_id: UUID, month_begins: datetime, now: datetime) -> Need:
    """Return how the account stands. Needs its lock, or two see the same need."""
    async with conn.cursor(row_factory=class_row(Need)) as cursor:
        await cursor.execute(
            _QUERIES["need_read"], {"account_id": account_id, "month_begins": month_begins, "now": now}
        )
        found = await cursor.fetchone()
    assert found is not None, "aggregates are one row"
    return found


async def accounts_low(conn: Connection, *, after: UUID, now: datetime, limit: int) -> list[UUID]:
    """Return accounts that may be due, in order of id. Needs Role.ENGINE."""
    cursor = await conn.execute(_QUERIES["accounts_low"], {"after": after, "now": now, "limit": limit})
    return [row[0] for row in await cursor.fetchall()]
