"""Invoices of metered use: a draft that Stripe leaves alone, its items, their sum read back and compared, finalized."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from domain.model.intents import InvoiceIntent
from domain.model.invoicing import dollars
from domain.model.outbox import Done, OutboxRow
from domain.model.stripe_money import Invoice
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeRefused
from scheduler.outbox.steps import Step, StepError, is_marked, marks

log: Final = logging.getLogger("spell.billing")

# In the metadata of an invoice, for whoever reads Stripe's pages.
RUN_MARK: Final = "spell_run"
# In that of an item: which of the invoice's it is.
ITEM_MARK: Final = "spell_item"
# Stripe's clock and ours.
SINCE: Final = timedelta(days=1)


async def _draft(stripe: StripeGateway, row: OutboxRow) -> Done:
    intent = _intent(row)
    try:
        invoice = await stripe.invoices.draft(
            customer_id=intent.customer_id,
            description=intent.description,
            metadata=marks(row, **{RUN_MARK: intent.run_id}),
            key=row.key,
        )
    except StripeRefused as refusal:
        if not refusal.is_missing or refusal.param != "customer":
            raise
        message = (
            f"{refusal}. Stripe restores no customer that was deleted: the amount stays owed here, and is to be settled"
            " with the account itself; docs/billing-runs.md says how"
        )
        raise StepError(message) from None
    return _drafted(invoice)


async def _look_draft(stripe: StripeGateway, row: OutboxRow) -> Done | None:
    invoice = await stripe.invoices.find(
        _intent(row).customer_id, since=row.created_at - SINCE, matches=lambda found: is_marked(found.metadata, row)
    )
    return None if invoice is None else _drafted(invoice)


def _drafted(invoice: Invoice) -> Done:
    return Done(next="item-0", known={"invoice_id": invoice.id})


async def _item(stripe: StripeGateway, row: OutboxRow) -> Done:
    number, intent = _item_number(row), _intent(row)
    item = intent.items[number]
    await stripe.invoices.add_item(
        row.known["invoice_id"],
        customer_id=intent.customer_id,
        amount_cents=item.amount_cents,
        description=item.description,
        metadata=marks(row, **{ITEM_MARK: str(number)}),
        key=row.key,
    )
    return _behind_item(number, intent)


async def _look_item(stripe: StripeGateway, row: OutboxRow) -> Done | None:
    number = _item_number(row)
    item = await stripe.invoices.find_item(
        row.known["invoice_id"],
        matches=lambda found: is_marked(found.metadata, row) and found.metadata.get(ITEM_MARK) == str(number),
    )
    return None if item is None else _behind_item(number, _intent(row))


def _behind_item(number: int, intent: InvoiceIntent) -> Done:
    return Done(next=f"item-{number + 1}" if number + 1 < len(intent.items) else "check")


async def _check(stripe: StripeGateway, row: OutboxRow) -> Done:
    """Read back what Stripe makes of the items. `total`, never `amount_due`: a customer's balance lowers that one."""
    intent = _intent(row)
    invoice = await stripe.invoices.retrieve(row.known["invoice_id"])
    if invoice.status in {"void", "uncollectible"}:
        message = f"invoice {invoice.id} is {invoice.status} at Stripe before it was finalized here"
        raise StepError(message)
    if invoice.total_cents != intent.total_cents or invoice.currency != "usd":
        message = (
            f"invoice {invoice.id} comes to {invoice.total_cents} {invoice.currency} at Stripe and to"
            f" {intent.total_cents} usd here: it is not finalized. Look at its lines there"
        )
        raise StepError(message)
    return Done(next="card")


async def _card(stripe: StripeGateway, row: OutboxRow) -> Done:
    """Give the customer the card of its subscription where it has none: an invoice apart would have nothing to pay it.

    Not the invoice itself: one that failed is then paid by the card the customer gives next.
    """
    customer_id = _intent(row).customer_id
    customer = await stripe.customers.retrieve(customer_id)
    if customer.payment_method_id is None and not customer.is_deleted:
        subscriptions = await stripe.subscriptions.of_customer(customer_id)
        cards = [each.payment_method_id for each in subscriptions if each.payment_method_id is not None]
        if cards:
            await stripe.customers.pay_with(customer_id, cards[0])
    return Done(next="finalize")


async def _finalize(stripe: StripeGateway, row: OutboxRow) -> Done:
    return _end(await stripe.invoices.finalize(row.known["invoice_id"], key=row.key))


async def _look_finalized(stripe: StripeGateway, row: OutboxRow) -> Done | None:
    """Return the end of an invoice that is no draft any more; one that Stripe would not collect is set going."""
    invoice = await stripe.invoices.retrieve(row.known["invoice_id"])
    if invoice.status == "draft":
        return None
    if invoice.status == "open" and not invoice.is_advancing:
        invoice = await stripe.invoices.advance(invoice.id, key=f"{row.key}:advance")
    return _end(invoice)


def _end(invoice: Invoice) -> Done:
    found = {"number": invoice.number, "hosted_url": invoice.hosted_url, "pdf_url": invoice.pdf_url}
    return Done(next=None, known={name: text for name, text in found.items() if text is not None})


def _item_number(row: OutboxRow) -> int:
    return int(row.step.removeprefix("item-"))


def _intent(row: OutboxRow) -> InvoiceIntent:
    return msgspec.json.decode(row.frozen, type=InvoiceIntent)


def tell_end(row: OutboxRow) -> None:
    """Log what operators search for."""
    intent = _intent(row)
    invoice_id, total = row.known["invoice_id"], dollars(intent.total_cents)
    log.info("Created invoice %s for user %s (%s, %d calls)", invoice_id, row.account_id, total, intent.calls)


def tell_trouble(row: OutboxRow, reason: str) -> None:
    """Log whose invoice is held up, and why."""
    log.error("Failed to bill user %s: %s", row.account_id, reason)


INVOICE_STEPS: Final[Mapping[str, Step]] = {
    "draft": Step(send=_draft, look=_look_draft),
    "item": Step(send=_item, look=_look_item),
    "check": Step(send=_check),
    "card": Step(send=_card),
    "finalize": Step(send=_finalize, look=_look_finalized),
}
