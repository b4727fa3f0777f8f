"""Payouts: frozen under the creator's lock, ended once, and shown. Writing needs Role.ENGINE."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.ledger import payable_of
from domain.model.payouts import Owed
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
_ID_MAX: Final = UUID(int=(1 << 128) - 1)

PayoutStatus = Literal["pending", "paid", "refused"]


class NewPayout(msgspec.Struct, frozen=True, kw_only=True):
    """A payout to freeze."""

    id: UUID
    account_id: UUID
    run_id: UUID
    period: date
    payable_micros: int
    held_back_micros: int
    amount_cents: int
    stripe_account_id: str


class PayoutRow(msgspec.Struct, frozen=True, kw_only=True):
    """A payout as it stands."""

    id: UUID
    period: date
    frozen_at: datetime
    amount_cents: int
    held_back_micros: int
    status: PayoutStatus
    stripe_account_id: str
    stripe_transfer_id: str | None
    reversed_cents: int
    refused_code: str | None
    finished_at: datetime | None


async def account_lock(conn: Connection, account_id: UUID) -> str | None:
    """Take the mutex of the account's money; return its status."""
    return await _status(conn, "account_lock", account_id)


async def account_read(conn: Connection, account_id: UUID) -> str | None:
    """Return the account's status, without its lock."""
    return await _status(conn, "account_read", account_id)


async def owed_read(conn: Connection, account_id: UUID, *, fresh_since: datetime) -> Owed:
    """Return what the ledger says a creator is owed, and what of it became payable since then."""
    async with conn.cursor(row_factory=class_row(Owed)) as cursor:
        await cursor.execute(_QUERIES["owed_read"], {"payable": payable_of(account_id), "since": fresh_since})
        row = await cursor.fetchone()
    assert row is not None, "aggregates make one row"
    return row


async def payout_exists(conn: Connection, account_id: UUID, *, period: date) -> bool:
    """Tell whether the month is frozen already."""
    cursor = await conn.execute(_QUERIES["payout_exists"], {"account_id": account_id, "period": period})
    row = await cursor.fetchone()
    assert row is not None, "EXISTS makes one row"
    return row[0]


async def payout_insert(conn: Connection, payout: NewPayout, *, now: datetime) -> None:
    """Freeze a payout. Needs the account's lock. Raises BadRowError for a month that is frozen already."""
    await conn.execute(_QUERIES["payout_insert"], {**msgspec.structs.asdict(payout), "now": now})


async def payout_finish(
    conn: Connection,
    payout_id: UUID,
    *,
    account_id: UUID,
    status: PayoutStatus,
    transfer_id: str | None,
    refused_code: str | None,
    now: datetime,
) -> PayoutRow | None:
    """End a payout and return it; None when it has ended. Needs the account's lock."""
    parameters = {
        "id": payout_id,
        "account_id": account_id,
        "status": status,
        "stripe_transfer_id": transfer_id,
        "refused_code": refused_code,
        "now": now,
    }
    return await _row(conn, "payout_finish", parameters)


async def payout_reverse(conn: Connection, payout_id: UUID, *, account_id: UUID, reversed_cents: int) -> bool:
    """Note how much was taken back; False when that is known. Needs the account's lock."""
    parameters = {"id": payout_id, "account_id": account_id, "reversed_cents": reversed_cents}
    return (await conn.execute(_QUERIES["payout_reverse"], parameters)).rowcount == 1


async def account_of_payout(conn: Connection, payout_id: UUID) -> UUID | None:
    """Return whose payout this is, of any account."""
    row = await (await conn.execute(_QUERIES["account_of_payout"], {"id": payout_id})).fetchone()
    return None if row is None else row[0]


async def payout_get(conn: Connection, account_id: UUID, payout_id: UUID) -> PayoutRow | None:
    """Return one payout of the account."""
    return await _row(conn, "payout_get", {"account_id": account_id, "id": payout_id})


async def payouts_list(
    conn: Connection,
    account_id: UUID,
    *,
    before: tuple[datetime, UUID] | None,
    since: datetime | None,
    limit: int,
) -> list[PayoutRow]:
    """Return the account's payouts, newest first."""
    at, row_id = before or (None, _ID_MAX)
    parameters = {"account_id": account_id, "before": at, "before_id": row_id, "since": since, "limit": limit}
    async with conn.cursor(row_factory=class_row(PayoutRow)) as cursor:
        await cursor.execute(_QUERIES["payouts_list"], parameters)
        return await cursor.fetchall()


async def _status(conn: Connection, query: str, account_id: UUID) -> str | None:
    row = await (await conn.execute(_QUERIES[query], {"account_id": account_id})).fetchone()
    return None if row is None else row[0]


async def _row(conn: Connection, query: str, parameters: Mapping[str, object]) -> PayoutRow | None:
    async with conn.cursor(row_factory=class_row(PayoutRow)) as cursor:
        await cursor.execute(_QUERIES[query], parameters)
        return await cursor.fetchone()
