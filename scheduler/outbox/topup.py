"""Top-ups: one request, which charges a kept card.

`known` at the end: `payment_intent_id` and its `status`, or `code` and `reason` of the refusal. The payment's own
webhook may tell of it first: whoever applies the end must take either, once.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from domain.model.intents import TopupIntent
from domain.model.outbox import Done, OutboxRow, OutboxStatus
from domain.model.stripe_money import PaymentIntent
from gateways.stripe.client import StripeGateway
from scheduler.outbox.steps import Step, is_marked, marks

# Stripe's clock and ours.
SINCE: Final = timedelta(days=1)
# The card was charged, or will be.
_GOING_WELL: Final = frozenset({"succeeded", "processing"})


async def _send(stripe: StripeGateway, row: OutboxRow) -> Done:
    intent = _intent(row)
    payment = await stripe.payments.charge(
        customer_id=intent.customer_id,
        payment_method_id=intent.payment_method_id,
        amount_cents=intent.amount_cents,
        description=intent.description,
        metadata=marks(row),
        key=row.key,
    )
    return _done(payment)


async def _look(stripe: StripeGateway, row: OutboxRow) -> Done | None:
    payment = await stripe.payments.find(
        _intent(row).customer_id, since=row.created_at - SINCE, matches=lambda found: is_marked(found.metadata, row)
    )
    return None if payment is None else _done(payment)


def _done(payment: PaymentIntent) -> Done:
    status = OutboxStatus.DONE if payment.status in _GOING_WELL else OutboxStatus.REFUSED
    return Done(next=None, known={"payment_intent_id": payment.id, "status": payment.status}, status=status)


def _intent(row: OutboxRow) -> TopupIntent:
    return msgspec.json.decode(row.frozen, type=TopupIntent)


TOPUP_STEPS: Final[Mapping[str, Step]] = {"charge": Step(send=_send, look=_look)}
