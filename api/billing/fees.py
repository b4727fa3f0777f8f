"""What the plans cost a month, as Stripe has it: asked for rarely, and unknown while Stripe does not answer."""

import logging
from collections.abc import Callable
from typing import Final

from domain.model.plans import Plan, PlanPrices
from domain.model.stripe_objects import MonthlyPrice
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeFailure

log: Final = logging.getLogger("spell.billing")

# A price never changes its amount at Stripe; what changes is which price the operator set, and that is a restart.
KNOWN_S: Final = 3_600.0
# Stripe was away: whoever looks at the plans waits for it again at most this often.
UNKNOWN_S: Final = 30.0


class Fees:
    """Knows the prices of the plans that can be subscribed to. `clock` counts seconds and never goes back."""

    def __init__(self, stripe: StripeGateway, prices: PlanPrices, *, clock: Callable[[], float]) -> None:
        self._stripe: Final = stripe
        self._prices: Final = prices
        self._clock: Final = clock
        self._known: dict[str, tuple[float, MonthlyPrice | None]] = {}

    async def of(self, plan: Plan) -> MonthlyPrice | None:
        """Return what the plan costs; None where nobody subscribes to it, or Stripe does not say. Never raises."""
        price_id = self._prices.of(plan)
        if price_id is None:
            return None
        good_until, price = self._known.get(price_id, (0.0, None))
        if self._clock() < good_until:
            return price
        try:
            price = await self._stripe.prices.retrieve(price_id)
        except StripeFailure as failure:
            log.warning("the price of a plan is not known", extra={"plan": plan, "reason": str(failure)})
        self._known[price_id] = (self._clock() + (UNKNOWN_S if price is None else KNOWN_S), price)
        return price
