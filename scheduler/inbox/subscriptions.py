"""Subscriptions: whatever happened to one, all of its customer's are looked at."""

from datetime import datetime
from functools import partial
from typing import Final

from domain.flow.follow_stripe import follow_subscriptions
from scheduler.inbox.flows import Asked, Flow, Shop, Write


async def look(shop: Shop, asked: Asked) -> Write:
    """Fetch the customer's subscriptions."""
    return await look_at(shop, asked.subject_id, asked.asked_at)


async def look_at(shop: Shop, customer_id: str, asked_at: datetime) -> Write:
    """Fetch the subscriptions of a customer; the answer counts from `asked_at` on."""
    found = await shop.stripe.subscriptions.of_customer(customer_id)
    return partial(
        follow_subscriptions,
        customer_id=customer_id,
        found=found,
        prices=shop.prices,
        grace=shop.grace,
        asked_at=asked_at,
    )


SUBSCRIPTIONS: Final = Flow(name="subscriptions", look=look, about="customer")
