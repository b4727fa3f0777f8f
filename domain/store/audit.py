"""The audit log: entries are written and read, and never changed. Everything runs inside the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.audit import ActorKind
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class NewEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry to write; `before` and `after` in types that JSON has."""

    account_id: UUID
    at: datetime
    actor_kind: ActorKind
    actor_id: UUID | None
    user_id: UUID | None
    action: str
    target_kind: str
    target_id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    address: str
    request_id: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it stands; `before` and `after` are JSON texts."""

    id: UUID
    at: datetime
    actor_kind: ActorKind
    actor_id: UUID | None
    user_id: UUID | None
    action: str
    target_kind: str
    target_id: str
    before: str | None
    after: str | None
    address: str
    request_id: str


class EntryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries to list; None asks for all. `created_before` is exclusive, `created_after` is not."""

    action: str | None = None
    target_kind: str | None = None
    target_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


async def entry_insert(conn: Connection, entry: NewEntry) -> None:
    """Write one entry. Needs Role.ENGINE."""
    texts = {"before": _json(entry.before), "after": _json(entry.after)}
    await conn.execute(_QUERIES["entry_insert"], {**msgspec.structs.asdict(entry), **texts})


async def entries_list(
    conn: Connection, *, account_id: UUID, wanted: EntryFilter, before: UUID | None, limit: int
) -> list[Entry]:
    """Return up to `limit` entries of the account, newest first, older than the entry `before` where it is given."""
    parameters = {**msgspec.structs.asdict(wanted), "account_id": account_id, "before_id": before, "limit": limit}
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(_QUERIES["entries_list"], parameters)
        return await cursor.fetchall()


def _json(fields: Mapping[str, Any] | None) -> str | None:
    return None if fields is None else msgspec.json.encode(fields).decode()
