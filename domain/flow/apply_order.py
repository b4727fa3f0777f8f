"""Bring an order to where Stripe says its money is: give its credits once, and take back what was refunded."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid5

import msgspec

from domain.flow.move_credits import write_move
from domain.flow.take_back import give_back, take_back
from domain.model.credit_orders import DisputeFacts, Facts, back_micros, granted_status, is_to_grant, unpaid_status
from domain.model.credits import PRIORITY_BOUGHT, Kind, Order, Reference, Takeback, purchase_moves
from domain.store import credit_grants, credit_orders, identity, top_ups
from domain.store.connection import Connection
from domain.store.credit_grants import NewGrant


async def apply_order(conn: Connection, *, order_id: UUID, facts: Facts, now: datetime) -> Order | None:
    """Apply `facts` under the account lock and return the order; None when there is none of that id.

    Facts come in any order and more than once, older than what is known too: what they end at is the same. Needs
    Role.ENGINE. Raises RefusedError (conflict) when less was paid than the order costs; nothing is changed then.
    """
    account_id = await credit_orders.order_owner(conn, order_id=order_id)
    if account_id is None:
        return None
    await identity.account_lock(conn, account_id=account_id)
    order = await credit_orders.order_get(conn, account_id=account_id, order_id=order_id)
    assert order is not None, "its owner was just read"
    return await apply_facts(conn, order, facts, now=now)


async def apply_facts(conn: Connection, order: Order, facts: Facts, *, now: datetime) -> Order:
    """Apply `facts` to an order that was read under its account's lock, and return it as it is then."""
    account_id = order.account_id
    refunded = max(facts.refunded_micros, order.stripe_refunded_micros)
    if is_to_grant(order, facts):
        order = await _grant(conn, order, now=now)
    if order.granted_at is None:
        status = unpaid_status(order, facts)
        if status != order.status and order.origin == "top_up":
            await top_ups.top_up_pause(conn, account_id=account_id, now=now)
    else:
        known = await _settle_takebacks(conn, order, facts.disputes, refunded_micros=refunded, now=now)
        status = granted_status(order, known)
    after = msgspec.structs.replace(
        order,
        status=status,
        stripe_session=order.stripe_session or facts.session,
        stripe_payment=order.stripe_payment or facts.payment_id,
        stripe_payment_method=order.stripe_payment_method or facts.payment_method,
        stripe_customer=order.stripe_customer or facts.customer,
        stripe_refunded_micros=refunded,
    )
    await credit_orders.order_update(conn, after)
    return after


async def _grant(conn: Connection, order: Order, *, now: datetime) -> Order:
    grant = NewGrant(
        id=uuid5(order.id, "grant"),
        account_id=order.account_id,
        micros=order.granted_micros,
        priority=PRIORITY_BOUGHT,
        order_id=order.id,
    )
    given = await credit_grants.grant_insert(conn, grant, now=now)
    assert given, "the order says under the lock that it was not granted"
    await write_move(
        conn,
        Kind.PURCHASE if order.origin == "checkout" else Kind.TOP_UP,
        account_id=order.account_id,
        cause=order.id,
        amount_micros=order.granted_micros,
        moves=purchase_moves(order),
        reason=f"{order.package_name}, {order.credits} credits",
        reference=Reference(type="order", id=str(order.id)),
        now=now,
    )
    return msgspec.structs.replace(order, status="completed", granted_at=now)


async def _settle_takebacks(
    conn: Connection, order: Order, disputes: Sequence[DisputeFacts], *, refunded_micros: int, now: datetime
) -> list[Takeback]:
    """Take back what Stripe says went back and is not taken yet; return all that went back, in any way.

    What we refund is taken when we decide it, so that Stripe's own sum may be behind ours for a while.
    """
    account_id = order.account_id
    known = await credit_orders.takebacks_list(conn, account_id=account_id, order_id=order.id)
    news_micros = refunded_micros - back_micros(known, "refund")
    if news_micros > 0:
        reference = f"stripe-{len(known) + 1}"
        takeback_id = uuid5(order.id, f"refund|{reference}")
        known.append(
            await take_back(
                conn, order, known, takeback_id=takeback_id, kind="refund", reference=reference,
                money_micros=news_micros, now=now,
            )
        )  # fmt: skip
    for dispute in disputes:
        known = await _settle_dispute(conn, order, known, dispute, now=now)
    return known


async def _settle_dispute(
    conn: Connection, order: Order, known: list[Takeback], dispute: DisputeFacts, *, now: datetime
) -> list[Takeback]:
    before = next((one for one in known if one.kind == "dispute" and one.reference == dispute.id), None)
    takeback_id = uuid5(order.id, f"dispute|{dispute.id}")
    if before is None and dispute.won:
        # Who fetched it while it was open may come later, and must find that it is over.
        won = Takeback(
            id=takeback_id,
            order_id=order.id,
            kind="dispute",
            reference=dispute.id,
            money_micros=dispute.money_micros,
            credits_micros=0,
            owed_micros=0,
            reversed_at=now,
        )
        await credit_orders.takeback_insert(conn, won, account_id=order.account_id, now=now)
        return [*known, won]
    if before is None:
        taken = await take_back(
            conn, order, known, takeback_id=takeback_id, kind="dispute", reference=dispute.id,
            money_micros=dispute.money_micros, now=now,
        )  # fmt: skip
        return [*known, taken]
    if dispute.won and before.reversed_at is None:
        given = await give_back(conn, order, before, kind=Kind.DISPUTE_WON, now=now)
        return [given if one.id == before.id else one for one in known]
    return known
