"""Who the account is at Stripe: made when it first wants to pay, and once."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from api.billing.asking import asking_stripe
from api.services import Services
from domain.flow.bill_account import Payer, begin_billing, keep_customer
from domain.store.connection import transaction
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeRefused

Answer = TypeVar("Answer")


async def begin(services: Services, account_id: UUID) -> Payer:
    """Return who pays and how so far. Raises RefusedError (not_found, forbidden)."""
    async with transaction(services.engine_pool) as connection:
        return await begin_billing(connection, account_id=account_id)


async def as_customer(
    services: Services, stripe: StripeGateway, payer: Payer, ask: Callable[[str], Awaitable[Answer]]
) -> Answer:
    """Return what `ask` answers for the account's customer id, which is made where there is none.

    One that was deleted at Stripe by hand is made anew, once. Raises RefusedError for all that goes wrong at Stripe.
    """
    known = payer.billing.stripe_customer_id
    async with asking_stripe():
        if known is not None:
            try:
                return await ask(known)
            except StripeRefused as refusal:
                if not (refusal.is_missing and refusal.param in {None, "customer"}):
                    raise
        return await ask(await _make(services, stripe, payer))


async def _make(services: Services, stripe: StripeGateway, payer: Payer) -> str:
    """Make the customer; whoever died behind this makes the same one again, for the key says what it is made of."""
    billing = payer.billing
    seed = f"customer {billing.account_id} {billing.stripe_customer_id} {payer.handle} {payer.email}"
    made = await stripe.customers.create(
        email=payer.email,
        name=payer.handle,
        account_id=str(billing.account_id),
        key=hashlib.sha256(seed.encode()).hexdigest(),
    )
    async with transaction(services.engine_pool) as connection:
        return await keep_customer(
            connection,
            account_id=billing.account_id,
            customer_id=made.id,
            instead_of=billing.stripe_customer_id,
        )
