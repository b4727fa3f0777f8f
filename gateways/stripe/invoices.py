"""Invoices of our own making: drafted, filled, read back, finalized. Stripe makes those of subscriptions by itself."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import stripe

from domain.model.stripe_money import Invoice, InvoiceItem
from gateways.stripe.finding import find
from gateways.stripe.link import Link, id_of, instant, texts

CURRENCY: Final = "usd"


class Invoices:
    """The family of invoices and their items."""

    def __init__(self, link: Link) -> None:
        self._link: Final = link

    async def draft(self, *, customer_id: str, description: str, metadata: Mapping[str, str], key: str) -> Invoice:
        """Make an empty draft that Stripe leaves alone: it takes up no item that waits, and finalizes nothing."""
        params: stripe.params.InvoiceCreateParams = {
            "customer": customer_id,
            "currency": CURRENCY,
            "description": description,
            "auto_advance": False,
            "collection_method": "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
            "metadata": dict(metadata),
        }
        return await self._link.ask(self._link.v1.invoices.create_async(params, {"idempotency_key": key}), invoice_of)

    async def add_item(
        self,
        invoice_id: str,
        *,
        customer_id: str,
        amount_cents: int,
        description: str,
        metadata: Mapping[str, str],
        key: str,
    ) -> InvoiceItem:
        """Put a line on a draft; the amount may be negative."""
        params: stripe.params.InvoiceItemCreateParams = {
            "invoice": invoice_id,
            "customer": customer_id,
            "amount": amount_cents,
            "currency": CURRENCY,
            "description": description,
            "metadata": dict(metadata),
        }
        items = self._link.v1.invoice_items
        return await self._link.ask(items.create_async(params, {"idempotency_key": key}), _item)

    async def finalize(self, invoice_id: str, *, key: str) -> Invoice:
        """Finalize a draft and have Stripe collect it: without `auto_advance` it would lie there for ever."""
        params: stripe.params.InvoiceFinalizeInvoiceParams = {"auto_advance": True}
        invoices = self._link.v1.invoices
        finalized = invoices.finalize_invoice_async(invoice_id, params, {"idempotency_key": key})
        return await self._link.ask(finalized, invoice_of)

    async def advance(self, invoice_id: str, *, key: str) -> Invoice:
        """Have Stripe collect an invoice that was finalized without."""
        invoices = self._link.v1.invoices
        updated = invoices.update_async(invoice_id, {"auto_advance": True}, {"idempotency_key": key})
        return await self._link.ask(updated, invoice_of)

    async def retrieve(self, invoice_id: str) -> Invoice:
        """Return the invoice as it is now."""
        return await self._link.ask(self._link.v1.invoices.retrieve_async(invoice_id), invoice_of)

    async def find(self, customer_id: str, *, since: datetime, matches: Callable[[Invoice], bool]) -> Invoice | None:
        """Return the customer's invoice made since then that `matches`, if there is one."""
        wanted = {"customer": customer_id, "created": {"gte": int(since.timestamp())}}

        def ask(page: dict[str, Any]) -> Any:  # the library's own type of it, which `find` knows
            params = cast("stripe.params.InvoiceListParams", {**wanted, **page})
            return self._link.v1.invoices.list_async(params)

        return await find(self._link, ask, invoice_of, matches)

    async def find_item(self, invoice_id: str, *, matches: Callable[[InvoiceItem], bool]) -> InvoiceItem | None:
        """Return the item of an invoice that `matches`, if there is one."""

        def ask(page: dict[str, Any]) -> Any:  # as above
            params = cast("stripe.params.InvoiceItemListParams", {"invoice": invoice_id, **page})
            return self._link.v1.invoice_items.list_async(params)

        return await find(self._link, ask, _item, matches)


def invoice_of(found: stripe.Invoice) -> Invoice:
    """Return what we read of an invoice."""
    due = found.next_payment_attempt
    return Invoice(
        id=found.id,
        customer_id=id_of(found.customer),
        status=found.status,
        total_cents=found.total,
        currency=found.currency,
        is_advancing=found.auto_advance is True,
        number=found.number,
        hosted_url=found.hosted_invoice_url,
        pdf_url=found.invoice_pdf,
        attempts=found.attempt_count,
        next_payment_attempt_at=None if due is None else instant(due),
        metadata=texts(found.metadata),
    )


def _item(found: stripe.InvoiceItem) -> InvoiceItem:
    return InvoiceItem(id=found.id, amount_cents=found.amount, metadata=texts(found.metadata))
