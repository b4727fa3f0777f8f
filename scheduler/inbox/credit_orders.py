"""Orders of credits: a checkout, a payment, a charge, a refund or a dispute lead to one payment, which says it all."""

from functools import partial
from typing import Final
from uuid import UUID

from domain.flow.apply_order import apply_order
from domain.model.credit_orders import Facts
from domain.model.stripe_purchase import facts_of, facts_of_session, order_of
from domain.store.connection import Connection
from domain.store.schedule import clock
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeRefused
from scheduler.inbox.flows import Asked, Flow, Shop, Write


async def look(shop: Shop, asked: Asked) -> Write:
    """Fetch what the object leads to. What is not about credits is left to nobody."""
    if asked.subject_id.startswith("cs_"):
        return await _look_at_checkout(shop.stripe, asked.subject_id)
    payment = await _payment_of(shop.stripe, asked.subject_id)
    return _nothing if payment is None else await _look_at_payment(shop.stripe, payment)


async def _look_at_checkout(stripe: StripeGateway, session_id: str) -> Write:
    session = await stripe.checkout.retrieve(session_id)
    order_id = order_of(session.metadata)
    if session.mode != "payment" or order_id is None:
        return _nothing
    if session.payment_intent_id is None:
        return partial(_apply, order_id=order_id, facts=facts_of_session(session))
    purchase = await stripe.purchases.of_payment(session.payment_intent_id)
    return partial(_apply, order_id=order_id, facts=facts_of(purchase, session))


async def _look_at_payment(stripe: StripeGateway, payment_intent_id: str) -> Write:
    purchase = await stripe.purchases.of_payment(payment_intent_id)
    order_id = order_of(purchase.metadata)
    return _nothing if order_id is None else partial(_apply, order_id=order_id, facts=facts_of(purchase))


async def _payment_of(stripe: StripeGateway, subject_id: str) -> str | None:
    kind = subject_id.partition("_")[0]
    find = {
        "ch": stripe.purchases.payment_of_charge,
        "py": stripe.purchases.payment_of_charge,
        "du": stripe.purchases.payment_of_dispute,
        "dp": stripe.purchases.payment_of_dispute,
        "re": stripe.purchases.payment_of_refund,
        "pyr": stripe.purchases.payment_of_refund,
    }
    if kind == "pi":
        return subject_id
    if kind not in find:
        return None
    try:
        return await find[kind](subject_id)
    except StripeRefused as refusal:
        if refusal.is_missing:
            return None
        raise


async def _apply(connection: Connection, *, order_id: UUID, facts: Facts) -> None:
    await apply_order(connection, order_id=order_id, facts=facts, now=await clock(connection))


async def _nothing(connection: Connection) -> None:
    del connection


CREDIT_ORDERS: Final = Flow(name="credit-orders", look=look)
TYPES: Final = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
