"""Payments without the customer (top-ups), and refunds of payments."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import stripe

from domain.model.stripe_money import PaymentIntent, Refund
from gateways.stripe.finding import find
from gateways.stripe.link import Link, id_of, texts

CURRENCY: Final = "usd"


class Payments:
    """The family of payment intents and refunds."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def charge(
        self,
        *,
        customer_id: str,
        payment_method_id: str,
        amount_cents: int,
        description: str,
        metadata: Mapping[str, str],
        key: str,
    ) -> PaymentIntent:
        """Charge a kept payment method now, while its owner is away. Raises StripeRefused when it is declined."""
        params: stripe.params.PaymentIntentCreateParams = {
            "customer": customer_id,
            "payment_method": payment_method_id,
            "amount": amount_cents,
            "currency": CURRENCY,
            "description": description,
            "metadata": dict(metadata),
            "off_session": True,
            "confirm": True,
        }
        intents = self._link.v1.payment_intents
        return await self._link.ask(intents.create_async(params, {"idempotency_key": key}), _intent)

    async def retrieve(self, payment_intent_id: str) -> PaymentIntent:
        """Return the payment as it is now."""
        return await self._link.ask(self._link.v1.payment_intents.retrieve_async(payment_intent_id), _intent)

    async def find(
        self, customer_id: str, *, since: datetime, matches: Callable[[PaymentIntent], bool]
    ) -> PaymentIntent | None:
        """Return the customer's payment begun since then that `matches`, if there is one."""
        wanted = {"customer": customer_id, "created": {"gte": int(since.timestamp())}}

        def ask(page: dict[str, Any]) -> Any:  # the library's own type of it, which `find` knows
            params = cast("stripe.params.PaymentIntentListParams", {**wanted, **page})
            return self._link.v1.payment_intents.list_async(params)

        return await find(self._link, ask, _intent, matches)

    async def refund(
        self, payment_intent_id: str, *, amount_cents: int, metadata: Mapping[str, str], key: str
    ) -> Refund:
        """Give back a part of a payment, or all of it. Raises StripeRefused when that much is not left."""
        params: stripe.params.RefundCreateParams = {
            "payment_intent": payment_intent_id,
            "amount": amount_cents,
            "metadata": dict(metadata),
        }
        refunds = self._link.v1.refunds
        return await self._link.ask(refunds.create_async(params, {"idempotency_key": key}), _refund)

    async def find_refund(self, payment_intent_id: str, *, matches: Callable[[Refund], bool]) -> Refund | None:
        """Return the refund of a payment that `matches`, if there is one."""

        def ask(page: dict[str, Any]) -> Any:  # as above
            params = cast("stripe.params.RefundListParams", {"payment_intent": payment_intent_id, **page})
            return self._link.v1.refunds.list_async(params)

        return await find(self._link, ask, _refund, matches)


def _intent(found: stripe.PaymentIntent) -> PaymentIntent:
    return PaymentIntent(
        id=found.id,
        status=found.status,
        amount_cents=found.amount,
        charge_id=id_of(found.latest_charge),
        metadata=texts(found.metadata),
    )


def _refund(found: stripe.Refund) -> Refund:
    return Refund(id=found.id, status=found.status, amount_cents=found.amount, metadata=texts(found.metadata))
