"""An invoice is finalized at Stripe: what it is called there is kept, and its owner is told, once."""

from datetime import datetime

from domain.model.invoice_events import finalized_event
from domain.model.outbox import Finished
from domain.store import invoices
from domain.store.connection import Connection
from domain.store.events import events_insert


async def open_invoice(conn: Connection, finished: Finished, now: datetime) -> None:
    """Apply the end of an invoice's row in the outbox. Needs the account's lock and Role.ENGINE. Twice tells once."""
    known = finished.known
    stripe = invoices.AtStripe(
        invoice_id=known["invoice_id"],
        number=known.get("number"),
        hosted_url=known.get("hosted_url"),
        pdf_url=known.get("pdf_url"),
    )
    opened = await invoices.invoice_open(
        conn, finished.subject_id, account_id=finished.account_id, stripe=stripe, now=now
    )
    if opened is None:
        return
    event = finalized_event(
        invoice_id=finished.subject_id,
        account_id=finished.account_id,
        period=opened.period,
        description=opened.description,
        total_cents=opened.total_cents,
        number=stripe.number,
        hosted_url=stripe.hosted_url,
        pdf_url=stripe.pdf_url,
    )
    await events_insert(conn, [event])
