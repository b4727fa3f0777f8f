"""How accounts pay. Everything here runs inside the caller's transaction; writing needs Role.ENGINE."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row, kwargs_row

from domain.model.periods import month_of
from domain.model.plans import Billing, Plan
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class PayingAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What admission asks of an account."""

    plan: str
    billing: str
    subscription_active: bool
    spend_paused: bool


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """Who the account is to Stripe."""

    handle: str
    email: str | None


class MonthSoFar(msgspec.Struct, frozen=True, kw_only=True):
    """What an account used of a month."""

    spent_micros: int = 0
    held_micros: int = 0
    free_taken: int = 0


async def billing_ensure(conn: Connection, *, account_id: UUID, now: datetime) -> None:
    """Give the account its row, unless it has one. Needs the account's lock."""
    await conn.execute(_QUERIES["billing_ensure"], {"account_id": account_id, "now": now})


async def billing_get(conn: Connection, *, account_id: UUID) -> Billing | None:
    """Return how the account pays; None while nobody there has ever asked to pay."""
    async with conn.cursor(row_factory=kwargs_row(_billing)) as cursor:
        await cursor.execute(_QUERIES["billing_get"], {"account_id": account_id})
        return await cursor.fetchone()


async def account_of_customer(conn: Connection, *, customer_id: str) -> UUID | None:
    """Return whose customer this is; None: not one of this platform's."""
    cursor = await conn.execute(_QUERIES["account_of_customer"], {"customer_id": customer_id})
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def customer_set(conn: Connection, *, account_id: UUID, customer_id: str, now: datetime) -> None:
    """Remember who the account is at Stripe. Needs the account's lock."""
    await conn.execute(_QUERIES["customer_set"], {"account_id": account_id, "customer_id": customer_id, "now": now})


async def checkout_set(conn: Connection, *, account_id: UUID, session_id: str | None, now: datetime) -> None:
    """Remember which page is open to subscribe."""
    await conn.execute(_QUERIES["checkout_set"], {"account_id": account_id, "session_id": session_id, "now": now})


async def billing_update(conn: Connection, billing: Billing, *, now: datetime) -> None:
    """Write how the account pays. Needs the account's lock."""
    fields = msgspec.structs.asdict(billing)
    await conn.execute(
        _QUERIES["billing_update"], {**fields, "unpaid_invoices": list(billing.unpaid_invoices), "now": now}
    )


async def account_set(conn: Connection, *, account_id: UUID, subscription_active: bool, plan: Plan | None) -> None:
    """Bring to admission what follows from it; `plan` None leaves the plan. Needs the account's lock."""
    await conn.execute(
        _QUERIES["account_set"],
        {"account_id": account_id, "subscription_active": subscription_active, "plan": plan},
    )


async def account_get(conn: Connection, *, account_id: UUID) -> PayingAccount | None:
    """Return what admission asks of the account."""
    async with conn.cursor(row_factory=class_row(PayingAccount)) as cursor:
        await cursor.execute(_QUERIES["account_get"], {"account_id": account_id})
        return await cursor.fetchone()


async def paused_set(conn: Connection, *, account_id: UUID, paused: bool) -> bool:
    """Stop or allow all spending; False when it was so already. Needs the account's lock."""
    cursor = await conn.execute(_QUERIES["paused_set"], {"account_id": account_id, "paused": paused})
    return cursor.rowcount == 1


async def payer_get(conn: Connection, *, account_id: UUID) -> Payer | None:
    """Return who the account is to Stripe."""
    async with conn.cursor(row_factory=class_row(Payer)) as cursor:
        await cursor.execute(_QUERIES["payer_get"], {"account_id": account_id})
        return await cursor.fetchone()


async def month_get(conn: Connection, *, account_id: UUID, now: datetime) -> MonthSoFar:
    """Return what the account used of the month of `now`."""
    async with conn.cursor(row_factory=class_row(MonthSoFar)) as cursor:
        await cursor.execute(_QUERIES["month_get"], {"account_id": account_id, "month": month_of(now)})
        return await cursor.fetchone() or MonthSoFar()


async def grace_over(conn: Connection, *, now: datetime, limit: int) -> list[UUID]:
    """Return accounts whose grace has ended and whose metered casts are still accepted."""
    cursor = await conn.execute(_QUERIES["grace_over"], {"now": now, "limit": limit})
    return [row[0] for row in await cursor.fetchall()]


def _billing(**fields: object) -> Billing:
    return msgspec.convert(fields, Billing)
