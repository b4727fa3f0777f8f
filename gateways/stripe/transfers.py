"""Transfers: what creators are paid, to their connected accounts."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import stripe

from domain.model.stripe_money import Transfer
from gateways.stripe.finding import find
from gateways.stripe.link import Link, id_of, texts

CURRENCY: Final = "usd"


class Transfers:
    """The family of transfers."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def pay(
        self, destination_id: str, *, amount_cents: int, description: str, metadata: Mapping[str, str], key: str
    ) -> Transfer:
        """Send money to a connected account. Raises StripeRefused when the balance or the account does not allow it."""
        params: stripe.params.TransferCreateParams = {
            "destination": destination_id,
            "amount": amount_cents,
            "currency": CURRENCY,
            "description": description,
            "metadata": dict(metadata),
        }
        transfers = self._link.v1.transfers
        return await self._link.ask(transfers.create_async(params, {"idempotency_key": key}), _transfer)

    async def find(
        self, destination_id: str, *, since: datetime, matches: Callable[[Transfer], bool]
    ) -> Transfer | None:
        """Return the transfer to an account made since then that `matches`, if there is one."""
        wanted = {"destination": destination_id, "created": {"gte": int(since.timestamp())}}

        def ask(page: dict[str, Any]) -> Any:  # the library's own type of it, which `find` knows
            params = cast("stripe.params.TransferListParams", {**wanted, **page})
            return self._link.v1.transfers.list_async(params)

        return await find(self._link, ask, _transfer, matches)

    async def retrieve(self, transfer_id: str) -> Transfer:
        """Return the transfer as it is now."""
        return await self._link.ask(self._link.v1.transfers.retrieve_async(transfer_id), _transfer)


def _transfer(found: stripe.Transfer) -> Transfer:
    return Transfer(
        id=found.id,
        destination_id=id_of(found.destination),
        amount_cents=found.amount,
        reversed_cents=found.amount_reversed,
        metadata=texts(found.metadata),
    )
