"""Begin the payment of an automatic top-up, and hear what became of it. Its order is the intent, open once at most."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from domain.flow.apply_order import apply_facts
from domain.flow.outbox import put_out
from domain.model.credit_orders import Facts, Payment
from domain.model.credits import Order
from domain.model.intents import TopupIntent
from domain.model.outbox import Finished, OutboxKind, OutboxStatus
from domain.model.periods import month_of
from domain.model.pricing import MICROS_PER_CENT
from domain.model.top_up import is_due
from domain.store import credit_grants, credit_orders, identity, top_ups
from domain.store.connection import Connection
from domain.store.outbox import Intent

CHARGE_STEP = "charge"


async def start_top_up(
    conn: Connection, *, account_id: UUID, order_id: UUID, credit_micros: int, now: datetime
) -> Order | None:
    """Write the order and its payment under the account lock when one is due, and return it; None when none is.

    Twice writes one: the second sees the first open. Without a card that was kept it is paused. Needs Role.ENGINE.
    """
    if await identity.account_lock(conn, account_id=account_id) != "active":
        return None
    wanted = await top_ups.top_up_get(conn, account_id=account_id)
    package = None if wanted is None else await credit_grants.package_get(conn, package_id=wanted.package_id)
    if wanted is None or package is None:
        return None
    month = month_of(now)
    begins = datetime(month.year, month.month, 1, tzinfo=UTC)
    need = await top_ups.need_read(conn, account_id=account_id, month_begins=begins, now=now)
    if not is_due(wanted, need, package):
        return None
    card = await credit_orders.kept_card_get(conn, account_id=account_id)
    if card is None:
        await top_ups.top_up_pause(conn, account_id=account_id, now=now)
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
    intent = Intent(
        id=order_id,
        account_id=account_id,
        kind=OutboxKind.TOPUP,
        subject_id=order_id,
        frozen=TopupIntent(
            customer_id=card.customer_id,
            payment_method_id=card.payment_method_id,
            amount_cents=package.price_cents,
            description=f"{package.credits} credits, automatic top-up",
        ),
        step=CHARGE_STEP,
    )
    await put_out(conn, intent, now=now)
    return await credit_orders.order_get(conn, account_id=account_id, order_id=order_id)


async def end_top_up(conn: Connection, finished: Finished, now: datetime) -> None:
    """Be told by the outbox what became of a payment. Runs under the account's lock, once.

    The payment's own event may have told it first; a payment that takes days goes on and ends by its event.
    """
    order = await credit_orders.order_get(conn, account_id=finished.account_id, order_id=finished.subject_id)
    assert order is not None, "the outbox was told to pay it"
    payment: Payment = "unpaid"
    if finished.status is OutboxStatus.REFUSED:
        payment = "failed"
    elif finished.known.get("status") == "succeeded":
        payment = "paid"
    intent = msgspec.json.decode(finished.frozen, type=TopupIntent)
    facts = Facts(
        payment=payment,
        paid_micros=intent.amount_cents * MICROS_PER_CENT,
        payment_id=finished.known.get("payment_intent_id"),
    )
    await apply_facts(conn, order, facts, now=now)
