"""The gateway itself: one object, one attribute for each family."""

from types import TracebackType
from typing import Final, Self

import stripe

from domain.vendor_settings import StripeSettings
from gateways.stripe.accounts import Accounts
from gateways.stripe.checkout import Checkout
from gateways.stripe.customers import Customers
from gateways.stripe.invoices import Invoices
from gateways.stripe.link import API_VERSION, Link
from gateways.stripe.listing import Listing
from gateways.stripe.payments import Payments
from gateways.stripe.portal import Portal
from gateways.stripe.prices import Prices
from gateways.stripe.purchases import Purchases
from gateways.stripe.subscriptions import Subscriptions
from gateways.stripe.transfers import Transfers
from gateways.stripe.transport import SECONDS_MAX, Transport

# It would report how long requests take, and what machine this is, with each of them.
stripe.enable_telemetry = False


class StripeGateway:
    """Stripe as this platform uses it. Make one in a process, and close it; it may be used by any number of tasks."""

    def __init__(self, settings: StripeSettings, *, seconds_max: float = SECONDS_MAX) -> None:
        self._transport: Final = Transport(seconds_max=seconds_max)
        client = stripe.StripeClient(
            settings.secret_key.reveal(),
            stripe_version=API_VERSION,
            base_addresses={"api": settings.api_base},
            max_network_retries=0,  # the rows of ours that ask repeat, and know when they may
            http_client=self._transport,
        )
        link = Link(client.v1)
        self.customers: Final = Customers(link)
        self.checkout: Final = Checkout(link)
        self.portal: Final = Portal(link)
        self.purchases: Final = Purchases(link)
        self.subscriptions: Final = Subscriptions(link)
        self.prices: Final = Prices(link)
        self.invoices: Final = Invoices(link)
        self.payments: Final = Payments(link)
        self.accounts: Final = Accounts(link)
        self.transfers: Final = Transfers(link)
        self.listing: Final = Listing(link)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is kept open."""
        await self._transport.close_async()
