"""Prices: what a plan costs, as it stands at Stripe. A price never changes its amount there."""

from typing import Final

import stripe

from domain.model.stripe_objects import MonthlyPrice
from gateways.stripe.link import Link


class Prices:
    """The family of prices."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def retrieve(self, price_id: str) -> MonthlyPrice:
        """Return the price."""
        return await self._link.ask(self._link.v1.prices.retrieve_async(price_id), _price)


def _price(found: stripe.Price) -> MonthlyPrice:
    recurring = found.recurring
    return MonthlyPrice(
        id=found.id,
        amount_cents=found.unit_amount,
        currency=found.currency,
        interval=None if recurring is None else recurring.interval,
        is_metered=recurring is not None and recurring.usage_type == "metered",
    )
