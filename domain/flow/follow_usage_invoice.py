"""What became of an invoice of ours at Stripe: paid, given up, voided. Booked once, whatever is told in which order."""

from datetime import datetime
from typing import Final
from uuid import UUID

from domain.flow.collect_shares import collect_bills
from domain.model.ledger import CASH, PROMOTION, Move, receivable_of, transfers
from domain.model.pricing import MICROS_PER_CENT
from domain.model.stripe_money import Invoice
from domain.store import invoices
from domain.store.connection import Connection
from domain.store.invoices import AtStripe, StandingInvoice
from domain.store.ledger import transfers_insert

# From where to where. What is paid stays paid and what is void stays void; one given up may still be paid.
_MAY_BECOME: Final = {
    "pending": frozenset({"open", "paid", "uncollectible", "void"}),
    "open": frozenset({"paid", "uncollectible", "void"}),
    "uncollectible": frozenset({"paid", "void"}),
}


async def follow_usage_invoice(conn: Connection, invoice_id: UUID, found: Invoice, *, now: datetime) -> bool:
    """Apply how Stripe says an invoice stands; False when it is none of ours, or stands so already.

    What creators have of it is payable once it is paid, and lost while it is given up. `invoice_id` is ours, as its
    metadata has it. Needs Role.ENGINE. Twice changes nothing.
    """
    account_id = await invoices.account_of_invoice(conn, invoice_id)
    if account_id is None or found.status is None:
        return False
    await invoices.account_lock(conn, account_id)
    standing = await invoices.invoice_lock(conn, invoice_id, account_id=account_id)
    assert standing is not None, "it was there before the lock"
    if found.status not in _MAY_BECOME.get(standing.status, frozenset()):
        return False
    await invoices.invoice_move(
        conn,
        invoice_id,
        account_id=account_id,
        status=found.status,
        is_closed=found.status in {"paid", "void"},
        stripe=AtStripe(invoice_id=found.id, number=found.number, hosted_url=found.hosted_url, pdf_url=found.pdf_url),
        now=now,
    )
    await _book(conn, standing, found.status, invoice_id=invoice_id, account_id=account_id)
    await collect_bills(conn, account_id=account_id, now=now)
    return True


async def _book(
    conn: Connection, standing: StandingInvoice, status: str, *, invoice_id: UUID, account_id: UUID
) -> None:
    """Book what is not owed any more: paid, or given away by who voided it. What is given up is owed all the same."""
    source = {"paid": CASH, "void": PROMOTION}.get(status)
    if source is None:
        return
    micros = standing.total_cents * MICROS_PER_CENT
    moves = (Move(debit=source, credit=receivable_of(account_id), micros=micros),)
    kind = f"invoice_{status}"
    rows = transfers(kind, moves, cause=invoice_id, account_id=account_id, month=standing.period)
    await transfers_insert(conn, rows)
