"""What was sent to whom and what came of it, as its account may see it; and the events of who follows an account."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.delivery import Status
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to one receiver."""

    id: UUID
    account_id: UUID
    event_id: UUID
    event_type: str
    endpoint_id: UUID | None
    target: str | None
    """The address a cast came with; None where an endpoint is named."""
    cast_id: UUID | None
    payload: str | None
    created_at: datetime
    attempts: int
    status: str
    next_attempt_at: datetime
    finished_at: datetime | None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was made, and its answer."""

    outgoing_id: UUID
    attempt: int
    started_at: datetime
    duration_ms: int
    request_headers: str
    """A JSON object."""
    status_code: int | None
    response_body: bytes | None
    error: str | None


class FollowedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is read by who follows its account."""

    id: UUID
    event_id: UUID
    event_type: str
    cast_id: UUID | None
    payload: str | None
    created_at: datetime


async def deliveries_list(
    conn: Connection,
    *,
    account_id: UUID,
    endpoint_id: UUID,
    status: Status | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[DeliveryRow]:
    """Return up to `limit` deliveries to the endpoint, newest first, older than `before` where it is given."""
    before_at, before_id = before if before is not None else (None, None)
    parameters = {
        "account_id": account_id,
        "endpoint_id": endpoint_id,
        "status": None if status is None else status.value,
        "before_at": before_at,
        "before_id": before_id,
        "limit": limit,
    }
    return await _deliveries(conn, "deliveries_list", parameters)


async def deliveries_of_cast(conn: Connection, *, account_id: UUID, cast_id: UUID) -> list[DeliveryRow]:
    """Return what was sent to the `webhook_url` of a cast."""
    return await _deliveries(conn, "deliveries_of_cast", {"account_id": account_id, "cast_id": cast_id})


async def delivery_get(conn: Connection, *, account_id: UUID, delivery_id: UUID) -> DeliveryRow | None:
    """Return one delivery of the account."""
    found = await _deliveries(conn, "delivery_get", {"account_id": account_id, "id": delivery_id})
    return found[0] if found else None


async def attempts_list(
    conn: Connection, *, account_id: UUID, delivery_ids: Sequence[UUID]
) -> dict[UUID, list[AttemptRow]]:
    """Return the attempts of these deliveries, the first one first, by delivery; those without any are left out."""
    async with conn.cursor(row_factory=class_row(AttemptRow)) as cursor:
        await cursor.execute(_QUERIES["attempts_list"], {"account_id": account_id, "ids": list(delivery_ids)})
        rows = await cursor.fetchall()
    found: dict[UUID, list[AttemptRow]] = {}
    for row in rows:
        found.setdefault(row.outgoing_id, []).append(row)
    return found


async def delivery_bring_forward(conn: Connection, *, account_id: UUID, delivery_id: UUID, now: datetime) -> None:
    """Have a waiting delivery sent now."""
    parameters = {"account_id": account_id, "id": delivery_id, "now": now}
    await conn.execute(_QUERIES["delivery_bring_forward"], parameters)


async def deliveries_reset(
    conn: Connection,
    *,
    account_id: UUID,
    endpoint_id: UUID,
    since: datetime,
    until: datetime,
    limit: int,
    now: datetime,
) -> int:
    """Have at most `limit` deliveries sent again that were given up or canceled; return how many."""
    parameters = {
        "account_id": account_id,
        "endpoint_id": endpoint_id,
        "since": since,
        "until": until,
        "limit": limit,
        "now": now,
    }
    return (await conn.execute(_QUERIES["deliveries_reset"], parameters)).rowcount


async def events_after(
    conn: Connection, *, account_id: UUID, after: tuple[datetime, UUID], limit: int
) -> list[FollowedEvent]:
    """Return up to `limit` events of the account behind `after`, in order."""
    parameters = {"account_id": account_id, "after_at": after[0], "after_id": after[1], "limit": limit}
    async with conn.cursor(row_factory=class_row(FollowedEvent)) as cursor:
        await cursor.execute(_QUERIES["events_after"], parameters)
        return await cursor.fetchall()


async def _deliveries(conn: Connection, query: str, parameters: dict[str, Any]) -> list[DeliveryRow]:
    async with conn.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        await cursor.execute(_QUERIES[query], parameters)
        return await cursor.fetchall()
