"""Customers: who pays."""

from typing import Final

import stripe

from domain.model.stripe_objects import Customer
from gateways.stripe.link import Link, id_of, texts


class Customers:
    """The family of customers."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def create(self, *, email: str | None, name: str, account_id: str, key: str) -> Customer:
        """Make a customer; `account_id` goes into its metadata, by which it can be found again."""
        params: stripe.params.CustomerCreateParams = {"name": name, "metadata": {"account_id": account_id}}
        if email is not None:
            params["email"] = email
        return await self._link.ask(self._link.v1.customers.create_async(params, {"idempotency_key": key}), _customer)

    async def retrieve(self, customer_id: str) -> Customer:
        """Return the customer as it is now. A deleted one is returned too, and says so."""
        return await self._link.ask(self._link.v1.customers.retrieve_async(customer_id), _customer)

    async def pay_with(self, customer_id: str, payment_method_id: str) -> Customer:
        """Have a payment method of the customer pay what names no other. Twice is once, so it takes no key."""
        params: stripe.params.CustomerUpdateParams = {"invoice_settings": {"default_payment_method": payment_method_id}}
        return await self._link.ask(self._link.v1.customers.update_async(customer_id, params), _customer)


def _customer(found: stripe.Customer) -> Customer:
    # A deleted customer's answer has nothing but its id and `deleted`.
    if getattr(found, "deleted", False):
        return Customer(id=found.id, email=None, metadata={}, is_deleted=True)
    settings = found.invoice_settings
    return Customer(
        id=found.id,
        email=found.email,
        metadata=texts(found.metadata),
        payment_method_id=None if settings is None else id_of(settings.default_payment_method),
    )
