"""The books of billing, compared with each other row by row. One function a book; a new one is added to `BOOKS`."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import msgspec

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)

# Of each book: enough to see what happened; how many there are is said beside them.
ROWS_SHOWN_MAX: Final = 100


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is not what another book says."""

    account_id: UUID | None
    subject: str
    """Which row: an id of its table, a name of the ledger, or a month and a spell."""
    fault: str
    """What about it differs; docs/reconciliation.md says what each means."""
    expected: int
    found: int


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One book's differences."""

    book: str
    differing: int
    """How many there are."""
    rows: list[Difference]
    """The first ROWS_SHOWN_MAX of them."""


async def lines_drift(connection: Connection) -> Compared:
    """Compare invoice lines with the ledger."""
    return await _compare(connection, "invoice_lines", "lines_drift")


async def invoices_drift(connection: Connection) -> Compared:
    """Compare invoices with their lines, with each other, and with what Stripe is asked for."""
    return await _compare(connection, "invoices", "invoices_drift")


async def invoice_transfers_drift(connection: Connection) -> Compared:
    """Compare what became of invoices with what the ledger says was paid or given away."""
    return await _compare(connection, "invoice_transfers", "invoice_transfers_drift")


async def receivables_drift(connection: Connection) -> Compared:
    """Compare what the ledger says accounts owe with what it is made of."""
    return await _compare(connection, "receivables", "receivables_drift")


async def shares_drift(connection: Connection) -> Compared:
    """Compare what became payable to creators with what was collected for it."""
    return await _compare(connection, "shares", "shares_drift")


async def payouts_drift(connection: Connection) -> Compared:
    """Compare payouts with what the ledger says went to creators."""
    return await _compare(connection, "payouts", "payouts_drift")


async def _compare(connection: Connection, book: str, query: str) -> Compared:
    cursor = await connection.execute(_QUERIES[query], {"limit": ROWS_SHOWN_MAX})
    found = await cursor.fetchall()
    rows = [Difference(account_id=row[0], subject=row[1], fault=row[2], expected=row[3], found=row[4]) for row in found]
    return Compared(book=book, differing=found[0][5] if found else 0, rows=rows)


BOOKS: Final[tuple[Callable[[Connection], Awaitable[Compared]], ...]] = (
    lines_drift,
    invoices_drift,
    invoice_transfers_drift,
    receivables_drift,
    shares_drift,
    payouts_drift,
)
"""Every comparison, in the order of the report. Each reads in the caller's snapshot and writes nothing."""
