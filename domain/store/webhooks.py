"""Webhook endpoints, and who follows an account's events. Everything here runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.modes import Mode
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is told of an account's events."""

    id: UUID
    account_id: UUID
    mode: Mode
    """Whether it is told of live casts and of the account, or of test casts."""
    url: str
    description: str
    event_types: list[str]
    secret_version: int
    previous_secret_until: datetime | None
    """Until then the secret before signs as well."""
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: Literal["owner", "failing", "gone"] | None
    created_at: datetime


async def endpoint_insert(
    conn: Connection,
    *,
    endpoint_id: UUID,
    account_id: UUID,
    mode: Mode,
    url: str,
    description: str,
    event_types: Sequence[str],
    now: datetime,
) -> None:
    """Make an endpoint."""
    parameters = {"id": endpoint_id, "account_id": account_id, "mode": mode, "url": url, "description": description}
    await conn.execute(_QUERIES["endpoint_insert"], {**parameters, "event_types": list(event_types), "now": now})


async def endpoint_get(conn: Connection, *, account_id: UUID, endpoint_id: UUID) -> Endpoint | None:
    """Return an endpoint of the account that is not deleted."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(_QUERIES["endpoint_get"], {"id": endpoint_id, "account_id": account_id})
        return await cursor.fetchone()


async def endpoints_list(
    conn: Connection, *, account_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Endpoint]:
    """Return up to `limit` endpoints, newest first, older than `before` where it is given."""
    before_at, before_id = before if before is not None else (None, None)
    parameters = {"account_id": account_id, "before_at": before_at, "before_id": before_id, "limit": limit}
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(_QUERIES["endpoints_list"], parameters)
        return await cursor.fetchall()


async def endpoints_count(conn: Connection, *, account_id: UUID) -> int:
    """Return how many endpoints the account has."""
    return await _scalar(conn, "endpoints_count", {"account_id": account_id})


async def endpoint_update(
    conn: Connection,
    *,
    account_id: UUID,
    endpoint_id: UUID,
    url: str,
    description: str,
    event_types: Sequence[str],
    disabled: bool,
    now: datetime,
) -> None:
    """Write all that its owner may change."""
    parameters = {
        "account_id": account_id,
        "id": endpoint_id,
        "url": url,
        "description": description,
        "event_types": list(event_types),
        "disabled": disabled,
        "now": now,
    }
    await conn.execute(_QUERIES["endpoint_update"], parameters)


async def endpoint_delete(conn: Connection, *, account_id: UUID, endpoint_id: UUID, now: datetime) -> bool:
    """End an endpoint; False when there is none, or it has been ended."""
    parameters = {"account_id": account_id, "id": endpoint_id, "now": now}
    return (await conn.execute(_QUERIES["endpoint_delete"], parameters)).rowcount == 1


async def endpoint_rotate(conn: Connection, *, account_id: UUID, endpoint_id: UUID, until: datetime) -> bool:
    """Go on to the next secret, the one before valid until then; False when there is no such endpoint."""
    parameters = {"account_id": account_id, "id": endpoint_id, "until": until}
    return (await conn.execute(_QUERIES["endpoint_rotate"], parameters)).rowcount == 1


async def deliveries_cancel(conn: Connection, *, endpoint_id: UUID, limit: int, now: datetime) -> int:
    """Cancel at most `limit` of what waits for the endpoint; return how many."""
    parameters = {"id": endpoint_id, "limit": limit, "now": now}
    return (await conn.execute(_QUERIES["deliveries_cancel"], parameters)).rowcount


async def accounts_refresh(conn: Connection, *, account_ids: Sequence[UUID]) -> None:
    """Bring `accounts.has_webhooks` up to date. Needs the locks of the accounts."""
    await conn.execute(_QUERIES["accounts_refresh"], {"account_ids": list(account_ids)})


async def account_listen(conn: Connection, *, account_id: UUID, until: datetime) -> None:
    """Have the account's events written down for who follows them, until then. Needs the account lock."""
    await conn.execute(_QUERIES["account_listen"], {"account_id": account_id, "until": until})


async def listening_read(conn: Connection, *, account_id: UUID) -> datetime | None:
    """Return until when that is done."""
    return await _scalar(conn, "listening_read", {"account_id": account_id})


async def test_insert(
    conn: Connection,
    *,
    delivery_id: UUID,
    account_id: UUID,
    endpoint_id: UUID,
    event_id: UUID,
    event_type: str,
    payload: str,
    now: datetime,
) -> None:
    """Write an event for one endpoint alone."""
    parameters = {
        "id": delivery_id,
        "account_id": account_id,
        "endpoint_id": endpoint_id,
        "event_id": event_id,
        "event_type": event_type,
        "payload": payload,
        "now": now,
    }
    await conn.execute(_QUERIES["test_insert"], parameters)


async def _scalar(conn: Connection, query: str, parameters: dict[str, Any]) -> Any:  # typed by each caller
    row = await (await conn.execute(_QUERIES[query], parameters)).fetchone()
    assert row is not None
    return row[0]
