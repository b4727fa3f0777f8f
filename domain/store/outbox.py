"""Rows of the outbox of money. Each change is one statement that says whose turn it believes it is."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from domain.model.outbox import Done, OutboxKind, OutboxRow, Trouble, storable_trouble
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
_encode: Final = msgspec.json.Encoder().encode
_decode_known: Final = msgspec.json.Decoder(dict[str, str]).decode


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, as it is written down and stays."""

    id: UUID
    account_id: UUID
    kind: OutboxKind
    subject_id: UUID
    frozen: msgspec.Struct
    step: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the outbox stands."""

    pending: int
    troubled: int
    oldest: datetime | None


async def row_insert(conn: Connection, intent: Intent, *, now: datetime) -> bool:
    """Write an intent; False when there is one of this kind for its subject."""
    parameters = {
        "id": intent.id,
        "account_id": intent.account_id,
        "kind": intent.kind.value,
        "subject_id": intent.subject_id,
        "frozen": _encode(intent.frozen).decode(),
        "step": intent.step,
        "now": now,
    }
    return (await conn.execute(_QUERIES["row_insert"], parameters)).rowcount == 1


async def rows_claim(conn: Connection, *, now: datetime, lease_until: datetime, limit: int) -> list[OutboxRow]:
    """Take due rows, the longest due first."""
    parameters = {"now": now, "lease_until": lease_until, "limit": limit}
    cursor = await conn.execute(_QUERIES["rows_claim"], parameters)
    return [_row(row) for row in await cursor.fetchall()]


async def row_advance(conn: Connection, row: OutboxRow, done: Done, *, now: datetime, lease_until: datetime) -> bool:
    """Begin the next step; False when the row is somebody else's by now."""
    assert done.next is not None, "behind the last step there is the end"
    parameters = {**_held(row), "next": done.next, "known": _known(row, done), "now": now}
    return await _changed(conn, "row_advance", {**parameters, "new_lease_until": lease_until})


async def row_epoch_raise(conn: Connection, row: OutboxRow, *, now: datetime, lease_until: datetime) -> bool:
    """Begin the step's next epoch; False when the row is somebody else's by now."""
    return await _changed(conn, "row_epoch_raise", {**_held(row), "now": now, "new_lease_until": lease_until})


async def row_trouble(conn: Connection, row: OutboxRow, trouble: Trouble, *, next_attempt_at: datetime) -> bool:
    """Give the row back with what went wrong; False when it is somebody else's by now."""
    parameters = {
        **_held(row),
        "next_attempt_at": next_attempt_at,
        "reason": storable_trouble(trouble.reason),
        "spends_key": trouble.spends_key or trouble.blocks,
        "blocks": trouble.blocks,
    }
    return await _changed(conn, "row_trouble", parameters)


async def row_finish(conn: Connection, row: OutboxRow, done: Done, *, now: datetime) -> bool:
    """End the row; False when it is somebody else's by now. The caller holds the account's lock."""
    parameters = {**_held(row), "status": done.status.value, "known": _known(row, done), "now": now}
    return await _changed(conn, "row_finish", parameters)


async def account_lock(conn: Connection, account_id: UUID) -> None:
    """Take the mutex of one account."""
    await conn.execute(_QUERIES["account_lock"], {"account_id": account_id})


async def rows_now(conn: Connection, kind: OutboxKind, *, now: datetime) -> int:
    """Make due what waits; return how many rows."""
    return (await conn.execute(_QUERIES["rows_now"], {"kind": kind.value, "now": now})).rowcount


async def standing_read(conn: Connection, *, troubled_attempts: int) -> Standing:
    """Return how the outbox stands."""
    row = await (await conn.execute(_QUERIES["standing_read"], {"troubled_attempts": troubled_attempts})).fetchone()
    assert row is not None, "aggregates make one row"
    return Standing(pending=row[0], troubled=row[1], oldest=row[2])


async def _changed(conn: Connection, query: str, parameters: Mapping[str, object]) -> bool:
    return (await conn.execute(_QUERIES[query], parameters)).rowcount == 1


def _held(row: OutboxRow) -> dict[str, object]:
    return {"id": row.id, "step": row.step, "epoch": row.epoch, "lease_until": row.lease_until}


def _known(row: OutboxRow, done: Done) -> str:
    return _encode({**row.known, **done.known}).decode()


def _row(row: tuple[Any, ...]) -> OutboxRow:
    (row_id, account_id, kind, subject_id, frozen, created_at, step, epoch, known, tried_at, look, attempts, lease) = (
        row
    )
    return OutboxRow(
        id=row_id,
        account_id=account_id,
        kind=OutboxKind(kind),
        subject_id=subject_id,
        frozen=msgspec.Raw(frozen.encode()),
        created_at=created_at,
        step=step,
        epoch=epoch,
        known=_decode_known(known),
        tried_at=tried_at,
        must_look=look,
        attempts=attempts,
        lease_until=lease,
    )
