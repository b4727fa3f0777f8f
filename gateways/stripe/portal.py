"""The customer portal: Stripe's own page for cards, invoices and cancelling."""

from typing import Final

import stripe

from domain.model.stripe_objects import PortalSession
from gateways.stripe.link import Link


class Portal:
    """The family of portal sessions."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def open(self, *, customer_id: str, return_url: str, key: str) -> PortalSession:
        """Open the portal for one visit; `return_url` is where it leads back to."""
        sessions = self._link.v1.billing_portal.sessions
        params: stripe.params.billing_portal.SessionCreateParams = {"customer": customer_id, "return_url": return_url}
        return await self._link.ask(sessions.create_async(params, {"idempotency_key": key}), _session)


def _session(made: stripe.billing_portal.Session) -> PortalSession:
    return PortalSession(id=made.id, url=made.url)
