"""Taking a person out of the rows of an account. Everything here runs inside the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
# Small things, emptied in the transaction of the request: each by account and instant alone.
_AT_ONCE: Final = (
    "user_forget", "identities_delete", "sessions_delete", "devices_delete", "keys_forget", "budgets_delete",
    "endpoints_forget", "prices_end", "orders_forget", "invoices_forget", "top_ups_end", "exports_end",
)  # fmt: skip


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What may stand in the way of an erasure."""

    handle: str
    kind: str
    subscription_active: bool


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure under way, and the last cast whose data is gone."""

    account_id: UUID
    casts_after: UUID


async def standing_read(conn: Connection, *, account_id: UUID) -> Standing:
    """Return how the account stands."""
    async with conn.cursor(row_factory=class_row(Standing)) as cursor:
        await cursor.execute(_QUERIES["standing_read"], {"account_id": account_id})
        standing = await cursor.fetchone()
    assert standing is not None, "it is locked"
    return standing


async def session_opened(conn: Connection, *, account_id: UUID, session_id: UUID) -> datetime | None:
    """Return when a living session of the account began."""
    cursor = await conn.execute(_QUERIES["session_opened"], {"account_id": account_id, "id": session_id})
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def addresses_read(conn: Connection, *, account_id: UUID, mail_issuer: str) -> list[str]:
    """Return every mail address of the person, in lower case."""
    parameters = {"account_id": account_id, "mail_issuer": mail_issuer}
    cursor = await conn.execute(_QUERIES["addresses_read"], parameters)
    return [row[0] for row in await cursor.fetchall()]


async def erasure_insert(conn: Connection, *, account_id: UUID, now: datetime) -> bool:
    """Begin the erasure; False when it has begun."""
    return (await _run(conn, "erasure_insert", account_id=account_id, now=now)) == 1


async def forget_at_once(
    conn: Connection,
    *,
    account_id: UUID,
    handle: str,
    farewell: str,
    addresses: Sequence[str],
    stranger_ids: Sequence[UUID],
    now: datetime,
) -> None:
    """Close the account under its pseudonym and empty everything of it that is small."""
    await _run(conn, "handle_retire", account_id=account_id)
    await _run(conn, "account_close", account_id=account_id, handle=handle)
    await _run(conn, "links_delete", addresses=list(addresses))
    await _run(conn, "strangers_mail_delete", stranger_ids=list(stranger_ids))
    await _run(conn, "spells_forget", account_id=account_id, farewell=farewell, now=now)
    for query in _AT_ONCE:
        await _run(conn, query, account_id=account_id, now=now)


async def erasure_claim(conn: Connection) -> Erasure | None:
    """Return the erasure that waits longest, its row held until the transaction ends."""
    async with conn.cursor(row_factory=class_row(Erasure)) as cursor:
        await cursor.execute(_QUERIES["erasure_claim"])
        return await cursor.fetchone()


async def erasure_look(conn: Connection, *, account_id: UUID, now: datetime) -> None:
    """Note that somebody looked."""
    await _run(conn, "erasure_look", account_id=account_id, now=now)


async def erasure_finish(conn: Connection, *, account_id: UUID, now: datetime) -> None:
    """Note that nothing is left."""
    await _run(conn, "erasure_finish", account_id=account_id, now=now)


async def casts_open(conn: Connection, *, account_id: UUID, limit: int) -> list[UUID]:
    """Return casts of the account that are under way, oldest first."""
    cursor = await conn.execute(_QUERIES["casts_open"], {"account_id": account_id, "limit": limit})
    return [row[0] for row in await cursor.fetchall()]


async def casts_forget(conn: Connection, erasure: Erasure, *, limit: int) -> bool:
    """Empty the next casts; False when there are none."""
    return (
        await _run(conn, "casts_forget", account_id=erasure.account_id, after=erasure.casts_after, limit=limit)
    ) == 1


async def deliveries_delete(conn: Connection, *, account_id: UUID, limit: int) -> int:
    """Delete up to `limit` deliveries; return how many."""
    return await _run(conn, "deliveries_delete", account_id=account_id, limit=limit)


async def pieces_delete(conn: Connection, *, account_id: UUID, limit: int) -> int:
    """Delete up to `limit` pieces of exports; return how many."""
    return await _run(conn, "pieces_delete", account_id=account_id, limit=limit)


async def idempotency_delete(conn: Connection, *, account_id: UUID) -> None:
    """Delete the names of requests."""
    await _run(conn, "idempotency_delete", account_id=account_id)


async def audit_forget(conn: Connection, *, account_id: UUID, personal_fields: Sequence[str]) -> None:
    """Take addresses and names out of the account's entries in the audit log."""
    await _run(conn, "audit_forget", account_id=account_id, personal_fields=list(personal_fields))


async def _run(conn: Connection, query: str, **parameters: Any) -> int:  # what each query takes
    return (await conn.execute(_QUERIES[query], parameters)).rowcount
