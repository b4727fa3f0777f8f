"""Checkout: Stripe's own page to pay once or to subscribe. No card ever reaches us."""

from collections.abc import Mapping
from typing import Final

import stripe

from domain.model.stripe_objects import CheckoutSession
from gateways.stripe.link import Link, id_of, texts


class Checkout:
    """The family of checkout sessions."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def subscribe(
        self,
        *,
        customer_id: str,
        price_id: str,
        reference: str,
        metadata: Mapping[str, str],
        success_url: str,
        cancel_url: str,
        key: str,
        quantity: int | None = 1,
    ) -> CheckoutSession:
        """Open a page to subscribe to a price. `quantity` is None for a price that Stripe meters.

        `metadata` stands on the session and on the subscription that comes of it.
        """
        item: stripe.params.checkout.SessionCreateParamsLineItem = {"price": price_id}
        if quantity is not None:
            item["quantity"] = quantity
        params: stripe.params.checkout.SessionCreateParams = {
            "mode": "subscription",
            "customer": customer_id,
            "client_reference_id": reference,
            "line_items": [item],
            "metadata": dict(metadata),
            "subscription_data": {"metadata": dict(metadata)},
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        return await self._create(params, key)

    async def pay(
        self,
        *,
        customer_id: str,
        price_id: str,
        reference: str,
        metadata: Mapping[str, str],
        success_url: str,
        cancel_url: str,
        key: str,
        keeps_card: bool = False,
    ) -> CheckoutSession:
        """Open a page to pay a price once. `metadata` stands on the session and on its payment intent.

        `keeps_card` asks Stripe to keep the payment method for later payments without the customer (top-ups).
        """
        intent: stripe.params.checkout.SessionCreateParamsPaymentIntentData = {"metadata": dict(metadata)}
        if keeps_card:
            intent["setup_future_usage"] = "off_session"
        params: stripe.params.checkout.SessionCreateParams = {
            "mode": "payment",
            "customer": customer_id,
            "client_reference_id": reference,
            "line_items": [{"price": price_id, "quantity": 1}],
            "metadata": dict(metadata),
            "payment_intent_data": intent,
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        return await self._create(params, key)

    async def pay_amount(
        self,
        *,
        customer_id: str,
        amount_cents: int,
        product: str,
        reference: str,
        metadata: Mapping[str, str],
        success_url: str,
        cancel_url: str,
        key: str,
        keeps_card: bool = False,
    ) -> CheckoutSession:
        """Open a page to pay an amount of US dollars once, for something Stripe has no price of."""
        intent: stripe.params.checkout.SessionCreateParamsPaymentIntentData = {"metadata": dict(metadata)}
        if keeps_card:
            intent["setup_future_usage"] = "off_session"
        price: stripe.params.checkout.SessionCreateParamsLineItemPriceData = {
            "currency": "usd",
            "unit_amount": amount_cents,
            "product_data": {"name": product},
        }
        params: stripe.params.checkout.SessionCreateParams = {
            "mode": "payment",
            "customer": customer_id,
            "client_reference_id": reference,
            "line_items": [{"price_data": price, "quantity": 1}],
            "metadata": dict(metadata),
            "payment_intent_data": intent,
            "success_url": success_url,
            "cancel_url": cancel_url,
        }
        return await self._create(params, key)

    async def retrieve(self, session_id: str) -> CheckoutSession:
        """Return the session as it is now."""
        return await self._link.ask(self._link.v1.checkout.sessions.retrieve_async(session_id), _session)

    async def expire(self, session_id: str, *, key: str) -> CheckoutSession:
        """End an open session, so that nobody can pay it any more. Refused when it is not open."""
        sessions = self._link.v1.checkout.sessions
        return await self._link.ask(sessions.expire_async(session_id, options={"idempotency_key": key}), _session)

    async def _create(self, params: stripe.params.checkout.SessionCreateParams, key: str) -> CheckoutSession:
        sessions = self._link.v1.checkout.sessions
        return await self._link.ask(sessions.create_async(params, {"idempotency_key": key}), _session)


def _session(found: stripe.checkout.Session) -> CheckoutSession:
    return CheckoutSession(
        id=found.id,
        url=found.url,
        mode=found.mode,
        status=found.status,
        payment_status=found.payment_status,
        client_reference_id=found.client_reference_id,
        customer_id=id_of(found.customer),
        subscription_id=id_of(found.subscription),
        payment_intent_id=id_of(found.payment_intent),
        amount_total_cents=found.amount_total,
        currency=found.currency,
        metadata=texts(found.metadata),
    )
