"""Invoices, of subscriptions and of usage: one that cannot be collected begins the grace, one that is paid ends it.

What became of one of usage is booked as well; what is told of its failure is what follows from it, for both kinds.
"""

from functools import partial
from typing import Final

from domain.flow.follow_stripe import follow_invoice
from domain.flow.follow_usage_invoice import follow_usage_invoice
from domain.model.stripe_money import Invoice
from domain.store.connection import Connection
from scheduler.inbox import subscriptions
from scheduler.inbox.flows import Asked, Flow, Shop, Write
from scheduler.outbox.steps import row_of

FAILED: Final = "invoice.payment_failed"


async def look(shop: Shop, asked: Asked) -> Write:
    """Fetch the invoice, and the subscriptions of its customer: Stripe's word for them changes with it."""
    invoice = await shop.stripe.invoices.retrieve(asked.subject_id)
    if invoice.customer_id is None:
        return _nothing
    follow_all = await subscriptions.look_at(shop, invoice.customer_id, asked.asked_at)
    return partial(_write, shop=shop, asked=asked, invoice=invoice, customer_id=invoice.customer_id, then=follow_all)


async def _write(
    connection: Connection, *, shop: Shop, asked: Asked, invoice: Invoice, customer_id: str, then: Write
) -> None:
    invoice_id = row_of(invoice.metadata)
    if invoice_id is not None:
        await follow_usage_invoice(connection, invoice_id, invoice, now=asked.asked_at)
    unpaid = is_unpaid(invoice, failed=FAILED in asked.types)
    if unpaid is not None:
        await follow_invoice(
            connection,
            customer_id=customer_id,
            invoice_id=invoice.id,
            is_unpaid=unpaid,
            grace=shop.grace,
            now=asked.asked_at,
        )
    await then(connection)


def is_unpaid(invoice: Invoice, *, failed: bool) -> bool | None:
    """Tell whether the invoice is owed and could not be collected; None: nothing is known, leave it as it was.

    An open one says nothing by itself: a debit from a bank is on its way for days. That one `failed` says an event,
    and that it is still owed says the invoice.
    """
    if invoice.status in {"paid", "void"}:
        return False
    if invoice.status == "uncollectible" or (invoice.status == "open" and failed):
        return True
    return None


async def _nothing(_: Connection) -> None:
    """Leave everything as it is: the invoice is nobody's."""


INVOICES: Final = Flow(name="invoices", look=look)
