"""Customers: who pays."""

from typing import Final

import stripe

from domain.model.stripe_objects import Customer
from gateways.stripe.link import Link, texts


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


def _customer(found: stripe.Customer) -> Customer:
    # A deleted customer's answer has nothing but its id and `deleted`.
    if getattr(found, "deleted", False):
        return Customer(id=found.id, email=None, metadata={}, is_deleted=True)
    return Customer(id=found.id, email=found.email, metadata=texts(found.metadata))
