"""What a flow of the inbox is: look at Stripe first, without a transaction, then write in one."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from domain.model.plans import PlanPrices
from domain.store.connection import Connection
from domain.vendor_settings import StripeSettings
from gateways.stripe.client import StripeGateway


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """What flows work with."""

    stripe: StripeGateway
    prices: PlanPrices
    grace: timedelta

    @classmethod
    def of(cls, stripe: StripeGateway, settings: StripeSettings) -> "Shop":
        """Return the shop of these settings."""
        return cls(stripe=stripe, prices=settings.prices, grace=settings.grace)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to look at, and since when the answer is true."""

    subject_id: str
    """Stripe's id of the object, or of the customer, as the flow is about one or the other."""
    connected_account_id: str | None
    """The creator's account at Stripe the object lives in; None: ours."""
    types: frozenset[str]
    """Of the events: what happened to it, some of it perhaps long ago."""
    asked_at: datetime
    """Before Stripe is asked, by Postgres' clock: an answer to a later question is newer than this one."""


Write = Callable[[Connection], Awaitable[object]]
"""Applies what was found, in a transaction that also ends the events. May run twice, and never asks Stripe."""

Look = Callable[[Shop, Asked], Awaitable[Write]]
"""Fetches the object as it is now and returns what is to be written. Raises the errors of `gateways.stripe.errors`."""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """One way of applying events. Events of one flow and subject that wait together are applied by one look."""

    name: str
    look: Look
    about: Literal["object", "customer"] = "object"
    """Which id of the event is the subject; an event without it is done with at once."""
    is_connected: bool = False
    """Whether it is about what happens in creators' accounts at Stripe; else it is about ours, and never theirs."""
