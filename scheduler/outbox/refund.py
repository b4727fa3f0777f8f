"""Refunds: one request. `known` at the end: `refund_id` and its `status`, or `code` and `reason` of the refusal."""

from collections.abc import Mapping
from typing import Final

import msgspec

from domain.model.intents import RefundIntent
from domain.model.outbox import Done, OutboxRow, OutboxStatus
from domain.model.stripe_money import Refund
from gateways.stripe.client import StripeGateway
from scheduler.outbox.steps import Step, is_marked, marks

# What of a refund will never arrive.
_FAILED: Final = frozenset({"failed", "canceled"})


async def _send(stripe: StripeGateway, row: OutboxRow) -> Done:
    intent = _intent(row)
    refund = await stripe.payments.refund(
        intent.payment_intent_id, amount_cents=intent.amount_cents, metadata=marks(row), key=row.key
    )
    return _done(refund)


async def _look(stripe: StripeGateway, row: OutboxRow) -> Done | None:
    refund = await stripe.payments.find_refund(
        _intent(row).payment_intent_id, matches=lambda found: is_marked(found.metadata, row)
    )
    return None if refund is None else _done(refund)


def _done(refund: Refund) -> Done:
    status = OutboxStatus.REFUSED if refund.status in _FAILED else OutboxStatus.DONE
    return Done(next=None, known={"refund_id": refund.id, "status": refund.status or ""}, status=status)


def _intent(row: OutboxRow) -> RefundIntent:
    return msgspec.json.decode(row.frozen, type=RefundIntent)


REFUND_STEPS: Final[Mapping[str, Step]] = {"refund": Step(send=_send, look=_look)}
