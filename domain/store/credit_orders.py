"""Orders of credits and what went back of them. Everything that writes needs the account's lock."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row, dict_row

from domain.model.credits import Order, Origin, Package, Takeback
from domain.model.pricing import MICROS_PER_CENT
from domain.model.top_up import KeptCard
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


async def order_insert(
    conn: Connection,
    *,
    order_id: UUID,
    account_id: UUID,
    origin: Origin,
    package: Package,
    credit_micros: int,
    now: datetime,
) -> None:
    """Write an order that waits for its money, under the package's terms of now."""
    await conn.execute(
        _QUERIES["order_insert"],
        {
            "id": order_id,
            "account_id": account_id,
            "origin": origin,
            "package_id": package.id,
            "credits": package.credits,
            "price_micros": package.price_cents * MICROS_PER_CENT,
            "granted_micros": package.credits * credit_micros,
            "now": now,
        },
    )


async def order_get(conn: Connection, *, account_id: UUID, order_id: UUID) -> Order | None:
    """Return an order of the account."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_QUERIES["order_get"], {"account_id": account_id, "id": order_id})
        row = await cursor.fetchone()
    return None if row is None else msgspec.convert(row, Order)


async def orders_list(
    conn: Connection, *, account_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[Order]:
    """Return up to `limit` orders, newest first, older than `before` where it is given."""
    before_at, before_id = before if before is not None else (None, None)
    parameters = {"account_id": account_id, "before_at": before_at, "before_id": before_id, "limit": limit}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_QUERIES["orders_list"], parameters)
        return msgspec.convert(await cursor.fetchall(), list[Order])


async def order_owner(conn: Connection, *, order_id: UUID) -> UUID | None:
    """Return whose order it is. Needs Role.ENGINE and no lock: an order never changes hands."""
    return await _id(conn, "order_owner", {"id": order_id})


async def kept_card_get(conn: Connection, *, account_id: UUID) -> KeptCard | None:
    """Return the card that may be charged while its owner is away, if there is one."""
    async with conn.cursor(row_factory=class_row(KeptCard)) as cursor:
        await cursor.execute(_QUERIES["kept_card_get"], {"account_id": account_id})
        return await cursor.fetchone()


async def orders_waiting(conn: Connection, *, before: datetime, limit: int) -> list[tuple[UUID, str | None]]:
    """Return checkouts made before then and neither paid nor over, the oldest first, with Stripe's sessions.

    Needs Role.ENGINE.
    """
    cursor = await conn.execute(_QUERIES["orders_waiting"], {"before": before, "limit": limit})
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def order_update(conn: Connection, order: Order) -> None:
    """Write status and Stripe's names of an order; a name that is there stays."""
    await conn.execute(
        _QUERIES["order_update"],
        {
            "account_id": order.account_id,
            "id": order.id,
            "status": order.status,
            "granted_at": order.granted_at,
            "stripe_session": order.stripe_session,
            "stripe_payment": order.stripe_payment,
            "stripe_payment_method": order.stripe_payment_method,
            "stripe_customer": order.stripe_customer,
            "stripe_refunded_micros": order.stripe_refunded_micros,
            "checkout_url": order.checkout_url,
        },
    )


async def takeback_insert(conn: Connection, takeback: Takeback, *, account_id: UUID, now: datetime) -> None:
    """Write what went back; BadRowError for a cause that was written before."""
    await conn.execute(
        _QUERIES["takeback_insert"], {**msgspec.structs.asdict(takeback), "account_id": account_id, "now": now}
    )


async def takebacks_list(conn: Connection, *, account_id: UUID, order_id: UUID) -> list[Takeback]:
    """Return what went back of an order, oldest first."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_QUERIES["takebacks_list"], {"account_id": account_id, "order_id": order_id})
        return msgspec.convert(await cursor.fetchall(), list[Takeback])


async def takeback_order(conn: Connection, *, account_id: UUID, takeback_id: UUID) -> UUID | None:
    """Return which order it is of."""
    return await _id(conn, "takeback_order", {"account_id": account_id, "id": takeback_id})


async def takeback_reverse(conn: Connection, *, account_id: UUID, takeback_id: UUID, now: datetime) -> None:
    """Write that it was given back."""
    cursor = await conn.execute(_QUERIES["takeback_reverse"], {"account_id": account_id, "id": takeback_id, "now": now})
    assert cursor.rowcount == 1, "it was given back before"


async def _id(conn: Connection, query: str, parameters: dict[str, object]) -> UUID | None:
    cursor = await conn.execute(_QUERIES[query], parameters)
    row = await cursor.fetchone()
    return None if row is None else row[0]
