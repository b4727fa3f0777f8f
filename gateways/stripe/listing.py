"""Lists of everything made at Stripe since a moment, a page at a time, to be compared with what we know."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import stripe

from domain.model.stripe_listing import Listed, ListedPage, ObjectKind, mark_of
from gateways.stripe.errors import StripeRefused
from gateways.stripe.finding import PAGE_MAX
from gateways.stripe.link import Link, id_of, texts

_SUCCEEDED: Final = "succeeded"


class Listing:
    """The lists of each kind of object."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link
        # The library has a type of its own for each list; what all have in common is read below.
        v1: Any = link.v1
        self._services: Final[dict[ObjectKind, Any]] = {
            ObjectKind.INVOICE: v1.invoices,
            ObjectKind.PAYMENT: v1.payment_intents,
            ObjectKind.REFUND: v1.refunds,
            ObjectKind.TRANSFER: v1.transfers,
        }

    async def page(self, kind: ObjectKind, *, since: datetime, after: str | None) -> ListedPage:
        """Return the page behind the object `after`, or the first: what was made since then, newest first."""
        params: dict[str, Any] = {"created": {"gte": int(since.timestamp())}, "limit": PAGE_MAX}
        if after is not None:
            params["starting_after"] = after
        request: Awaitable[Any] = self._services[kind].list_async(params)
        return await self._link.ask(request, lambda found: _page(kind, found))

    async def one(self, kind: ObjectKind, stripe_id: str) -> Listed | None:
        """Return the object as it is now; None when Stripe has none of that id."""
        request: Awaitable[Any] = self._services[kind].retrieve_async(stripe_id)
        try:
            return await self._link.ask(request, _READ[kind])
        except StripeRefused as refusal:
            if refusal.is_missing:
                return None
            raise

    async def refunds_of(self, payment_intent_id: str) -> list[Listed]:
        """Return the refunds of a payment, the newest hundred."""
        params: Any = {"payment_intent": payment_intent_id, "limit": PAGE_MAX}
        request: Awaitable[Any] = self._services[ObjectKind.REFUND].list_async(params)
        return await self._link.ask(request, lambda found: [_refund(one) for one in found.data])


def _page(kind: ObjectKind, found: Any) -> ListedPage:  # a list of the library's, of any kind
    objects = [_READ[kind](one) for one in found.data]
    return ListedPage(objects=objects, last_id=objects[-1].stripe_id if objects and found.has_more else None)


def _invoice(found: stripe.Invoice) -> Listed:
    return Listed(
        kind=ObjectKind.INVOICE,
        stripe_id=found.id,
        mark=mark_of(texts(found.metadata)),
        status=found.status or "",
        amount_cents=found.total,
    )


def _payment(found: stripe.PaymentIntent) -> Listed:
    return Listed(
        kind=ObjectKind.PAYMENT,
        stripe_id=found.id,
        mark=mark_of(texts(found.metadata)),
        status=found.status,
        amount_cents=found.amount_received if found.status == _SUCCEEDED else found.amount,
    )


def _refund(found: stripe.Refund) -> Listed:
    return Listed(
        kind=ObjectKind.REFUND,
        stripe_id=found.id,
        mark=mark_of(texts(found.metadata)),
        payment=id_of(found.payment_intent),
        status=found.status or "",
        amount_cents=found.amount,
    )


def _transfer(found: stripe.Transfer) -> Listed:
    return Listed(
        kind=ObjectKind.TRANSFER,
        stripe_id=found.id,
        mark=mark_of(texts(found.metadata)),
        status="paid",
        amount_cents=found.amount,
        back_cents=found.amount_reversed,
    )


_READ: Final[dict[ObjectKind, Callable[[Any], Listed]]] = {
    ObjectKind.INVOICE: _invoice,
    ObjectKind.PAYMENT: _payment,
    ObjectKind.REFUND: _refund,
    ObjectKind.TRANSFER: _transfer,
}
