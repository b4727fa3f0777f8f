"""Give money back for credits of an order that nobody has used."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.apply_order import apply_facts
from domain.flow.audit import audit
from domain.flow.outbox import put_out
from domain.flow.take_back import give_back, take_back
from domain.model.audit import Action, Actor
from domain.model.credit_orders import Facts, back_micros, granted_status
from domain.model.credits import Kind, Takeback, unused_money
from domain.model.errors import Code, refuse
from domain.model.intents import RefundIntent
from domain.model.outbox import Finished, OutboxKind, OutboxStatus
from domain.model.pricing import MICROS_PER_CENT
from domain.store import credit_grants, credit_orders, identity
from domain.store.connection import Connection
from domain.store.outbox import Intent

REFUND_STEP = "refund"


async def refund_order(
    conn: Connection, *, order_id: UUID, refund_id: UUID, credits_micros: int | None, actor: Actor, now: datetime
) -> Takeback:
    """Take unused credits of a paid order, and have Stripe give back what they cost, in whole cents rounded down.

    `credits_micros` bounds what is taken; None: all that nobody used and no open cast holds. The credits are gone when
    this is committed; Stripe is asked afterwards, by the outbox, and should it refuse they come back. The same
    `refund_id` again changes nothing. Needs Role.ENGINE. Raises RefusedError: not found, conflict (nothing to refund).
    """
    account_id = await credit_orders.order_owner(conn, order_id=order_id)
    if account_id is None:
        raise refuse(Code.NOT_FOUND, "There is no such order.")
    await identity.account_lock(conn, account_id=account_id)
    order = await credit_orders.order_get(conn, account_id=account_id, order_id=order_id)
    assert order is not None, "its owner was just read"
    known = await credit_orders.takebacks_list(conn, account_id=account_id, order_id=order_id)
    before = next((one for one in known if one.id == refund_id), None)
    if before is not None:
        return before
    grant = await credit_grants.grant_of_order(conn, account_id=account_id, order_id=order_id)
    if grant is None or order.stripe_payment is None:
        raise refuse(Code.CONFLICT, f"Order {order_id} was not paid: it is {order.status}.")
    unused = grant.free_micros if credits_micros is None else min(credits_micros, grant.free_micros)
    money = min(unused_money(order, unused), order.price_micros - back_micros(known))
    if money <= 0:
        raise refuse(Code.CONFLICT, f"Nothing of order {order_id} is unused: {grant.free_micros} micros are free.")
    taken = await take_back(
        conn,
        order,
        known,
        takeback_id=refund_id,
        kind="refund",
        reference=str(refund_id),
        money_micros=money,
        now=now,
    )
    assert taken.owed_micros == 0, "no more was refunded than is unused"
    intent = RefundIntent(payment_intent_id=order.stripe_payment, amount_cents=money // MICROS_PER_CENT)
    await put_out(
        conn,
        Intent(
            id=refund_id,
            account_id=account_id,
            kind=OutboxKind.REFUND,
            subject_id=refund_id,
            frozen=intent,
            step=REFUND_STEP,
        ),
        now=now,
    )
    status = granted_status(order, [*known, taken])
    await credit_orders.order_update(conn, msgspec.structs.replace(order, status=status))
    await audit(
        conn, actor, Action.CREDIT_ORDER_REFUND, account_id=account_id, target_id=order_id, after=taken, now=now
    )
    return taken


async def end_refund(conn: Connection, finished: Finished, now: datetime) -> None:
    """Be told by the outbox what became of a refund: what Stripe refused is given back. Runs under the lock, once."""
    if finished.status is not OutboxStatus.REFUSED:
        return
    order_id = await credit_orders.takeback_order(conn, account_id=finished.account_id, takeback_id=finished.subject_id)
    assert order_id is not None, "the outbox was told to refund it"
    order = await credit_orders.order_get(conn, account_id=finished.account_id, order_id=order_id)
    assert order is not None, "the order of a takeback is there"
    known = await credit_orders.takebacks_list(conn, account_id=finished.account_id, order_id=order_id)
    refund = next(one for one in known if one.id == finished.subject_id)
    if refund.reversed_at is not None:
        return
    await give_back(conn, order, refund, kind=Kind.REFUND_FAILED, now=now)
    # Refused, it may be, because somebody refunded the same money at Stripe itself.
    await apply_facts(conn, order, Facts(payment="paid"), now=now)
