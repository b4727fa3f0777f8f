"""Exports of an account's data: how far each is, and its pieces. All here runs inside the caller's transaction."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.export_files import ATTEMPTS_MAX, ExportState
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)

ExportStatus = Literal["pending", "running", "ready", "failed", "expired"]


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """An export as its owner may see it."""

    id: UUID
    account_id: UUID
    user_id: UUID
    status: ExportStatus
    progress_percent: int
    created_at: datetime
    """The instant its rows belong to."""
    finished_at: datetime | None
    expires_at: datetime | None
    """Its bytes can be fetched until then; None before it is ready."""
    error: str | None
    pieces: int
    size_bytes: int


class ClaimedExport(msgspec.Struct, frozen=True, kw_only=True):
    """An export whose next piece the caller is to make."""

    id: UUID
    account_id: UUID
    user_id: UUID
    created_at: datetime
    pieces: int
    """How many there are; the next one has this number."""
    state: ExportState | None
    """None: nobody has begun."""


async def export_insert(conn: Connection, *, export_id: UUID, account_id: UUID, user_id: UUID, now: datetime) -> bool:
    """Begin an export; False when the account has one under way."""
    parameters = {"id": export_id, "account_id": account_id, "user_id": user_id, "now": now}
    return (await conn.execute(_QUERIES["export_insert"], parameters)).rowcount == 1


async def export_get(conn: Connection, *, account_id: UUID, export_id: UUID) -> Export | None:
    """Return an export of the account."""
    async with conn.cursor(row_factory=class_row(Export)) as cursor:
        await cursor.execute(_QUERIES["export_get"], {"id": export_id, "account_id": account_id})
        return await cursor.fetchone()


async def exports_count(conn: Connection, *, account_id: UUID, now: datetime) -> int:
    """Return how many archives of the account can be fetched."""
    return await _scalar(conn, "exports_count", {"account_id": account_id, "now": now})


async def export_claim(conn: Connection, *, now: datetime, lease_until: datetime) -> ClaimedExport | None:
    """Take the export that waits longest for its next piece; None when none waits."""
    parameters = {"now": now, "lease_until": lease_until, "attempts_max": ATTEMPTS_MAX}
    row = await (await conn.execute(_QUERIES["export_claim"], parameters)).fetchone()
    if row is None:
        return None
    export_id, account_id, user_id, created_at, pieces, state = row
    return ClaimedExport(
        id=export_id,
        account_id=account_id,
        user_id=user_id,
        created_at=created_at,
        pieces=pieces,
        state=None if state is None else msgspec.json.decode(state, type=ExportState),
    )


async def exports_give_up(conn: Connection, *, now: datetime, error: str) -> list[UUID]:
    """End exports that failed ATTEMPTS_MAX times in one place; return which."""
    parameters = {"now": now, "error": error, "attempts_max": ATTEMPTS_MAX}
    return [row[0] for row in await (await conn.execute(_QUERIES["exports_give_up"], parameters)).fetchall()]


async def casts_count(conn: Connection, *, account_id: UUID) -> int:
    """Return how many casts an account has, nearly."""
    return await _scalar(conn, "casts_count", {"account_id": account_id})


async def piece_append(
    conn: Connection, claimed: ClaimedExport, piece: bytes, state: ExportState, *, now: datetime
) -> bool:
    """Keep the next piece and how far the export is with it; False when somebody else did, and nothing is written."""
    advance: dict[str, Any] = {
        "id": claimed.id,
        "pieces": claimed.pieces,
        "bytes": len(piece),
        "state": msgspec.json.encode(state).decode(),
        "progress_percent": state.progress_percent,
        "now": now,
    }
    if (await conn.execute(_QUERIES["export_advance"], advance)).rowcount == 0:
        return False
    row = {"id": claimed.id, "account_id": claimed.account_id, "piece": claimed.pieces, "bytes": piece}
    await conn.execute(_QUERIES["piece_insert"], row)
    return True


async def export_finish(conn: Connection, *, export_id: UUID, now: datetime, expires_at: datetime) -> None:
    """Let the archive be fetched until `expires_at`."""
    await conn.execute(_QUERIES["export_finish"], {"id": export_id, "now": now, "expires_at": expires_at})


async def piece_read(conn: Connection, *, account_id: UUID, export_id: UUID, piece: int) -> bytes | None:
    """Return a piece of a ready archive; None when it can be fetched no longer."""
    parameters = {"id": export_id, "account_id": account_id, "piece": piece}
    row = await (await conn.execute(_QUERIES["piece_read"], parameters, binary=True)).fetchone()
    return None if row is None else bytes(row[0])


async def exports_expire(conn: Connection, *, now: datetime) -> int:
    """Mark archives that had their week; return how many."""
    return (await conn.execute(_QUERIES["exports_expire"], {"now": now})).rowcount


async def pieces_drop(conn: Connection, *, limit: int) -> int:
    """Delete up to `limit` pieces of archives that nobody may fetch; return how many."""
    return (await conn.execute(_QUERIES["pieces_drop"], {"limit": limit})).rowcount


async def _scalar(conn: Connection, query: str, parameters: dict[str, Any]) -> int:
    row = await (await conn.execute(_QUERIES[query], parameters)).fetchone()
    assert row is not None
    return int(row[0])
