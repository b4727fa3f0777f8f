"""Subscriptions: what a customer pays every month."""

from typing import Final

import stripe

from domain.model.stripe_objects import Subscription
from gateways.stripe.link import Link, id_of, instant, texts

# Of one customer, newest first. Two is what somebody gets who pays in two tabs at once; more than this is nobody's.
LISTED_MAX: Final = 20


class Subscriptions:
    """The family of subscriptions."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def retrieve(self, subscription_id: str) -> Subscription:
        """Return the subscription as it is now."""
        return await self._link.ask(self._link.v1.subscriptions.retrieve_async(subscription_id), _subscription)

    async def of_customer(self, customer_id: str) -> tuple[Subscription, ...]:
        """Return a customer's subscriptions as they are now, newest first, ended ones too."""
        params: stripe.params.SubscriptionListParams = {"customer": customer_id, "status": "all", "limit": LISTED_MAX}
        return await self._link.ask(self._link.v1.subscriptions.list_async(params), _subscriptions)

    async def change_price(self, subscription_id: str, *, item_id: str, price_id: str, key: str) -> Subscription:
        """Go over to another price now; Stripe prorates, and the difference stands on the next invoice.

        A cancellation for the period's end is withdrawn by it.
        """
        return await self._update(
            subscription_id,
            {
                "items": [{"id": item_id, "price": price_id}],
                "proration_behavior": "create_prorations",
                "cancel_at_period_end": False,
            },
            key,
        )

    async def cancel_at_period_end(self, subscription_id: str, *, key: str) -> Subscription:
        """Let it end with the period that is paid."""
        return await self._update(subscription_id, {"cancel_at_period_end": True}, key)

    async def keep(self, subscription_id: str, *, key: str) -> Subscription:
        """Withdraw a cancellation for the period's end."""
        return await self._update(subscription_id, {"cancel_at_period_end": False}, key)

    async def cancel_now(self, subscription_id: str, *, key: str) -> Subscription:
        """End it at once."""
        services = self._link.v1.subscriptions
        ended = services.cancel_async(subscription_id, options={"idempotency_key": key})
        return await self._link.ask(ended, _subscription)

    async def _update(
        self, subscription_id: str, params: stripe.params.SubscriptionUpdateParams, key: str
    ) -> Subscription:
        services = self._link.v1.subscriptions
        updated = services.update_async(subscription_id, params, {"idempotency_key": key})
        return await self._link.ask(updated, _subscription)


def _subscriptions(found: stripe.ListObject[stripe.Subscription]) -> tuple[Subscription, ...]:
    return tuple(_subscription(each) for each in found.data)


def _subscription(found: stripe.Subscription) -> Subscription:
    item = next(iter(found.items.data), None)
    period_end = None if item is None else instant(item.current_period_end)
    ends_at = None if found.cancel_at is None else instant(found.cancel_at)
    return Subscription(
        id=found.id,
        customer_id=id_of(found.customer) or "",
        status=found.status,
        created_at=instant(found.created),
        item_id=None if item is None else item.id,
        price_id=None if item is None else item.price.id,
        current_period_end=period_end,
        ends_at=ends_at or (period_end if found.cancel_at_period_end else None),
        is_collecting=found.pause_collection is None,
        payment_method_id=id_of(found.default_payment_method),
        latest_invoice_id=id_of(found.latest_invoice),
        metadata=texts(found.metadata),
    )
