"""Payments made once, with their charges and disputes: whatever an event was about, the whole of it is looked at."""

from typing import Any, Final, cast

import stripe

from domain.model.stripe_purchase import DisputeState, Purchase
from gateways.stripe.link import Link, id_of, texts

# A payment is disputed once, rarely twice.
DISPUTES_MAX: Final = 100
_OFF_SESSION: Final = "off_session"


class Purchases:
    """The family of payments for credits."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def of_payment(self, payment_intent_id: str) -> Purchase:
        """Return the payment with what was refunded of it and its disputes."""
        intents, disputes = self._link.v1.payment_intents, self._link.v1.disputes
        listed = await self._link.ask(
            disputes.list_async({"payment_intent": payment_intent_id, "limit": DISPUTES_MAX}),
            lambda page: [_dispute(one) for one in page.data],
        )
        # Disputes first: one that comes between the two questions has its own event, and is asked for then.
        return await self._link.ask(
            intents.retrieve_async(payment_intent_id, {"expand": ["latest_charge"]}),
            lambda found: _purchase(found, listed),
        )

    async def payment_of_charge(self, charge_id: str) -> str | None:
        """Return which payment a charge is of."""
        return await self._link.ask(
            self._link.v1.charges.retrieve_async(charge_id), lambda charge: id_of(charge.payment_intent)
        )

    async def payment_of_dispute(self, dispute_id: str) -> str | None:
        """Return which payment a dispute is of."""
        return await self._link.ask(
            self._link.v1.disputes.retrieve_async(dispute_id), lambda dispute: id_of(dispute.payment_intent)
        )

    async def payment_of_refund(self, refund_id: str) -> str | None:
        """Return which payment a refund is of."""
        return await self._link.ask(
            self._link.v1.refunds.retrieve_async(refund_id), lambda refund: id_of(refund.payment_intent)
        )


def _dispute(found: stripe.Dispute) -> DisputeState:
    return DisputeState(id=found.id, amount_cents=found.amount, status=found.status)


def _purchase(found: stripe.PaymentIntent, disputes: list[DisputeState]) -> Purchase:
    charge = cast("Any", found.latest_charge)  # expanded: an object, or null before the first attempt
    return Purchase(
        id=found.id,
        status=found.status,
        amount_cents=found.amount,
        received_cents=found.amount_received,
        currency=found.currency,
        refunded_cents=0 if charge is None else int(charge.amount_refunded),
        disputes=tuple(disputes),
        customer_id=id_of(found.customer),
        payment_method_id=id_of(found.payment_method),
        is_reusable=found.setup_future_usage == _OFF_SESSION,
        metadata=texts(found.metadata),
    )
