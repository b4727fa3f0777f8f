"""Begin the payment of an automatic top-up: the order is the intent, and there is at most one open."""

from datetime import UTC, datetime
from uuid import UUID

from domain.model.credits import Order
from domain.model.periods import month_of
from domain.model.top_up import is_due
from domain.store import credit_grants, credit_orders, identity, top_ups
from domain.store.connection import Connection


async def start_top_up(
    conn: Connection, *, account_id: UUID, order_id: UUID, credit_micros: int, now: datetime
) -> Order | None:
    """Write the order under the account lock when one is due, and return it; None when none is.

    Twice writes one: the second sees the first open. Needs Role.ENGINE.
    """
    if await identity.account_lock(conn, account_id=account_id) != "active":
        return None
    wanted = await top_ups.top_up_get(conn, account_id=account_id)
    if wanted is None:
        return None
    package = await credit_grants.package_get(conn, package_id=wanted.package_id)
    if package is None:
        return None
    month = month_of(now)
    begins = datetime(month.year, month.month, 1, tzinfo=UTC)
    need = await top_ups.need_read(conn, account_id=account_id, month_begins=begins, now=now)
    if not is_due(wanted, need, package):
        return None
    await credit_orders.order_insert(
        conn,
        order_id=order_id,
        account_id=account_id,
        origin="top_up",
        package=package,
        credit_micros=credit_micros,
        now=now,
    )
    return await credit_orders.order_get(conn, account_id=account_id, order_id=order_id)
