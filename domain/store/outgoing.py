"""Rows on their way out. Everything here runs inside the caller's transaction and needs Role.ENGINE."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.delivery import WINDOW_NEW, Status
from domain.model.events import DisabledEndpoint
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
# Any number that no other advisory lock has; this one spells `send` in ASCII.
_TURN: Final = 0x73656E64
_encode: Final = msgspec.json.Encoder().encode


class ClaimLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one claim may take."""

    room: int
    """Rows."""
    account_max: int
    """In flight of one account, with all couriers."""
    destinations_max: int
    """Destinations looked at."""
    windows: Mapping[str, int]
    """In flight to a destination, with all couriers; WINDOW_NEW where nothing is said."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """The rows taken, and where the next claim goes on: None when every destination was looked at."""

    ids: Sequence[UUID]
    after: str | None


class OutgoingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed row with the endpoint as it is now."""

    id: UUID
    account_id: UUID
    kind: str
    event_id: UUID
    event_type: str
    target: str
    destination: str
    cast_id: UUID | None
    payload: str | None
    created_at: datetime
    attempts: int
    attempts_before: int
    lease_until: datetime
    endpoint_id: UUID | None
    secret_version: int | None
    previous_secret_signs: bool | None
    endpoint_usable: bool | None


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt as the log keeps it."""

    outgoing_id: UUID
    attempt: int
    account_id: UUID
    started_at: datetime
    duration_ms: int
    request_headers: str
    """A JSON object."""
    status_code: int | None
    response_body: bytes | None
    error: str | None


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a row that was held until `lease_until`."""

    id: UUID
    lease_until: datetime
    status: Status
    next_attempt_at: datetime | None


async def take_turn(connection: Connection) -> datetime | None:
    """Return the database's time when this transaction is the only one that claims, until it ends; else None."""
    row = await (await connection.execute(_QUERIES["turn_take"], {"lock": _TURN})).fetchone()
    assert row is not None
    return row[1] if row[0] else None


async def anything_due(connection: Connection, *, now: datetime) -> bool:
    """Tell whether some row is due."""
    row = await (await connection.execute(_QUERIES["due_exists"], {"now": now})).fetchone()
    assert row is not None
    return row[0]


async def claim(
    connection: Connection, limits: ClaimLimits, *, now: datetime, lease_until: datetime, after: str
) -> Claimed:
    """Take due rows, going on behind destination `after`; the caller has its turn."""
    parameters = {
        "now": now,
        "lease_until": lease_until,
        "after": after,
        "room": limits.room,
        "account_max": limits.account_max,
        "destinations_max": limits.destinations_max,
        "windows": _encode(limits.windows).decode(),
        "window_new": WINDOW_NEW,
    }
    row = await (await connection.execute(_QUERIES["deliveries_claim"], parameters)).fetchone()
    assert row is not None
    return Claimed(ids=row[0], after=row[1])


async def read(connection: Connection, ids: Sequence[UUID], *, now: datetime) -> list[OutgoingRow]:
    """Return claimed rows with their endpoints."""
    async with connection.cursor(row_factory=class_row(OutgoingRow)) as cursor:
        await cursor.execute(_QUERIES["deliveries_read"], {"ids": list(ids), "now": now})
        return await cursor.fetchall()


async def log_attempts(connection: Connection, attempts: Sequence[AttemptRow]) -> None:
    """Add to the log; what is in it already stays."""
    parameters = {
        "ids": [attempt.outgoing_id for attempt in attempts],
        "attempts": [attempt.attempt for attempt in attempts],
        "account_ids": [attempt.account_id for attempt in attempts],
        "started_at": [attempt.started_at for attempt in attempts],
        "durations_ms": [attempt.duration_ms for attempt in attempts],
        "request_headers": [attempt.request_headers for attempt in attempts],
        "status_codes": [attempt.status_code for attempt in attempts],
        "response_bodies": [attempt.response_body for attempt in attempts],
        "errors": [attempt.error for attempt in attempts],
    }
    await connection.execute(_QUERIES["attempts_insert"], parameters)


async def finish(connection: Connection, finished: Sequence[Finish], *, now: datetime) -> int:
    """Write down what becomes of held rows; return how many still were this courier's, or have arrived after all."""
    parameters = {
        "ids": [one.id for one in finished],
        "leases": [one.lease_until for one in finished],
        "statuses": [one.status.value for one in finished],
        "next_attempts_at": [one.next_attempt_at for one in finished],
        "now": now,
    }
    return (await connection.execute(_QUERIES["deliveries_finish"], parameters)).rowcount


async def release(connection: Connection, held: Sequence[tuple[UUID, datetime]], *, now: datetime) -> int:
    """Give back rows by id and end of lease; return how many still were this courier's."""
    parameters = {"ids": [one[0] for one in held], "leases": [one[1] for one in held], "now": now}
    return (await connection.execute(_QUERIES["deliveries_release"], parameters)).rowcount


async def endpoints_answered(
    connection: Connection, *, reached: Sequence[UUID], failed: Sequence[UUID], now: datetime
) -> None:
    """Note since when endpoints fail, or that they do not."""
    if reached:
        await connection.execute(_QUERIES["endpoints_succeed"], {"ids": list(reached)})
    if failed:
        await connection.execute(_QUERIES["endpoints_fail"], {"ids": list(failed), "now": now})


async def hopeless(connection: Connection, ids: Sequence[UUID], *, since: datetime) -> list[UUID]:
    """Return those of these endpoints that have failed since then or longer."""
    cursor = await connection.execute(_QUERIES["endpoints_hopeless"], {"ids": list(ids), "since": since})
    return [row[0] for row in await cursor.fetchall()]


async def lock_accounts(connection: Connection, endpoint_ids: Sequence[UUID]) -> None:
    """Lock the accounts of these endpoints."""
    await connection.execute(_QUERIES["accounts_lock"], {"ids": list(endpoint_ids)})


async def disable_endpoints(
    connection: Connection, ids: Sequence[UUID], *, reason: str, now: datetime
) -> list[DisabledEndpoint]:
    """Disable those of these endpoints that are not yet, and return them; the caller holds their accounts' locks."""
    async with connection.cursor(row_factory=class_row(DisabledEndpoint)) as cursor:
        await cursor.execute(_QUERIES["endpoints_disable"], {"ids": list(ids), "reason": reason, "now": now})
        return await cursor.fetchall()


async def reset(connection: Connection, outgoing_id: UUID, *, account_id: UUID, now: datetime) -> bool:
    """Have a finished row of the account sent again; return whether there was one."""
    parameters = {"id": outgoing_id, "account_id": account_id, "now": now}
    return (await connection.execute(_QUERIES["delivery_reset"], parameters)).rowcount == 1


async def count_due(connection: Connection, *, now: datetime, limit: int) -> int:
    """Return how many rows are due, `limit` at most."""
    row = await (await connection.execute(_QUERIES["due_count"], {"now": now, "limit": limit})).fetchone()
    assert row is not None
    return row[0]


async def trim_finished(connection: Connection, *, before: datetime, limit: int) -> int:
    """Delete at most `limit` rows that were finished before then; return how many."""
    return (await connection.execute(_QUERIES["finished_trim"], {"before": before, "limit": limit})).rowcount
