"""Take credits back whose money went back, book what is gone as a debt, and undo both when the money comes again."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid5

import msgspec

from domain.flow.collect_shares import collect_grant
from domain.flow.move_credits import write_move
from domain.model.credit_orders import back_micros
from domain.model.credits import Kind, Order, Reference, Takeback, TakebackKind, take, takeback_moves
from domain.model.ledger import backwards
from domain.store import credit_grants, credit_orders
from domain.store.connection import Connection


async def take_back(
    conn: Connection,
    order: Order,
    known: Sequence[Takeback],
    *,
    takeback_id: UUID,
    kind: TakebackKind,
    reference: str,
    money_micros: int,
    now: datetime,
) -> Takeback:
    """Take what these credits of a granted order cost, for a caller that holds the account's lock.

    `known` is all that went back before. Only what is free of the order's own grant is taken; the rest of the money
    is owed from now on, and creators lose their part of it.
    """
    grant = await credit_grants.grant_of_order(conn, account_id=order.account_id, order_id=order.id)
    assert grant is not None, "the order was granted"
    taking = take(order, back_micros=back_micros(known), money_micros=money_micros, free_micros=grant.free_micros)
    takeback = Takeback(
        id=takeback_id,
        order_id=order.id,
        kind=kind,
        reference=reference,
        money_micros=money_micros,
        credits_micros=taking.credits_micros,
        owed_micros=taking.owed_micros,
        reversed_at=None,
    )
    if taking.credits_micros:
        await credit_grants.grant_take_back(
            conn, account_id=order.account_id, grant_id=grant.id, micros=taking.credits_micros
        )
    await credit_orders.takeback_insert(conn, takeback, account_id=order.account_id, now=now)
    await write_move(
        conn,
        Kind(kind),
        account_id=order.account_id,
        cause=takeback_id,
        amount_micros=-taking.credits_micros,
        moves=takeback_moves(order.account_id, takeback),
        reference=Reference(type="order", id=str(order.id)),
        now=now,
    )
    await collect_grant(conn, account_id=order.account_id, grant_id=grant.id, now=now)
    return takeback


async def give_back(conn: Connection, order: Order, takeback: Takeback, *, kind: Kind, now: datetime) -> Takeback:
    """Undo it all, the debt too, for a caller that holds the account's lock; the credits are what they were."""
    grant = await credit_grants.grant_of_order(conn, account_id=order.account_id, order_id=order.id)
    assert grant is not None, "the order was granted"
    if takeback.credits_micros:
        await credit_grants.grant_give_back(
            conn, account_id=order.account_id, grant_id=grant.id, micros=takeback.credits_micros
        )
    await credit_orders.takeback_reverse(conn, account_id=order.account_id, takeback_id=takeback.id, now=now)
    await write_move(
        conn,
        kind,
        account_id=order.account_id,
        cause=uuid5(takeback.id, "reversed"),
        amount_micros=takeback.credits_micros,
        moves=backwards(takeback_moves(order.account_id, takeback)),
        reference=Reference(type="order", id=str(order.id)),
        now=now,
    )
    await collect_grant(conn, account_id=order.account_id, grant_id=grant.id, now=now)
    return msgspec.structs.replace(takeback, reversed_at=now)
