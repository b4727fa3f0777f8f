"""The one answer of everything that needs Stripe where the operator set no keys of it."""

import msgspec

from api.services import Services
from domain.model.errors import Code, refuse
from domain.vendor_settings import StripeSettings
from gateways.stripe.client import StripeGateway


class StripeAccess(msgspec.Struct, frozen=True, kw_only=True):
    """Stripe, and how it is set up."""

    gateway: StripeGateway
    settings: StripeSettings


def require_stripe(services: Services) -> StripeAccess:
    """Return Stripe. Raises RefusedError (billing_off) where there are no keys."""
    settings = services.settings.stripe
    if services.stripe is None or settings is None:
        raise refuse(
            Code.BILLING_OFF,
            "This platform has no keys of Stripe, so nothing can be bought here. Casts are not billed and go on.",
        )
    return StripeAccess(gateway=services.stripe, settings=settings)
