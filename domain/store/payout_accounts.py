"""Who creators are at Stripe. Everything here runs inside the caller's transaction; writing needs Role.ENGINE."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from domain.model.payouts import PayoutAccount
from domain.model.stripe_money import ConnectedAccount
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


async def account_ensure(conn: Connection, *, account_id: UUID, now: datetime) -> bool:
    """Give a creator a row; False when he has one. Needs the account's lock."""
    return await _changed(conn, "account_ensure", {"account_id": account_id, "now": now})


async def account_get(conn: Connection, *, account_id: UUID) -> PayoutAccount | None:
    """Return who the creator is at Stripe; None while he never asked to be paid."""
    async with conn.cursor(row_factory=class_row(PayoutAccount)) as cursor:
        await cursor.execute(_QUERIES["account_get"], {"account_id": account_id})
        return await cursor.fetchone()


async def account_of_connected(conn: Connection, *, stripe_account_id: str) -> UUID | None:
    """Return whose account at Stripe this is; None: not one of this platform's creators'."""
    cursor = await conn.execute(_QUERIES["account_of_connected"], {"stripe_account_id": stripe_account_id})
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def connected_set(conn: Connection, *, account_id: UUID, stripe_account_id: str, now: datetime) -> bool:
    """Remember the account Stripe made; False where one is remembered already. Needs the account's lock."""
    parameters = {"account_id": account_id, "stripe_account_id": stripe_account_id, "now": now}
    return await _changed(conn, "connected_set", parameters)


async def epoch_raise(conn: Connection, account: PayoutAccount, *, now: datetime) -> bool:
    """Begin anew under the next key; False when somebody did since `account` was read."""
    parameters = {
        "account_id": account.account_id,
        "epoch": account.epoch,
        "stripe_account_id": account.stripe_account_id,
        "now": now,
    }
    return await _changed(conn, "epoch_raise", parameters)


async def account_update(conn: Connection, account_id: UUID, found: ConnectedAccount, *, asked_at: datetime) -> bool:
    """Write how it stands at Stripe; False for an old answer, or another account than the one that is remembered."""
    parameters = {
        "account_id": account_id,
        "stripe_account_id": found.id,
        "details_submitted": found.details_submitted,
        "transfers_active": found.transfers_active,
        "payouts_enabled": found.payouts_enabled,
        "disabled_reason": found.disabled_reason,
        "asked_at": asked_at,
    }
    return await _changed(conn, "account_update", parameters)


async def _changed(conn: Connection, query: str, parameters: Mapping[str, object]) -> bool:
    return (await conn.execute(_QUERIES[query], parameters)).rowcount == 1
