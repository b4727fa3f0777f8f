"""Compare the books with each other: casts = usage events = counters = ledger = months, held = open holds, sum = 0.

Credits are the same by the grants, by the history of their balance and in the ledger; invoices are what the ledger and
their lines say, and an account owes what they leave over. What differs is reported with the rows that differ and never
mended here. Stripe's side is `compare_stripe`.
"""

from datetime import UTC, date, datetime
from typing import Final

import msgspec

from domain.model.invoicing import last_month
from domain.model.periods import month_of, next_month
from domain.store import books
from domain.store import schedule as store
from domain.store.books import ROWS_SHOWN_MAX, Compared
from domain.store.connection import Connection
from domain.store.schedule import CreditDrift, Drift, HoldTotals

# In the table of reports.
SCOPE: Final = "books"


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What one comparison found. Lists end at ROWS_SHOWN_MAX; `differing` has the whole number, by book."""

    months: list[str]
    balanced: bool
    ledger_sum_micros: int
    holds: HoldTotals
    differing: dict[str, int]
    drifts: list[Drift]
    credit_drifts: list[CreditDrift]
    books: list[Compared]


async def reconcile(connection: Connection, *, now: datetime) -> Reconciliation:
    """Compare the books, of casts those of this month and the last, and keep the report.

    Run it in a `snapshot`, so that all its statements see one instant.
    """
    months = [last_month(now), month_of(now)]
    drifts = [drift for month in months for drift in await _drifts(connection, month)]
    credit_drifts = await store.credit_drifts(connection)
    compared = [await compare(connection) for compare in books.BOOKS]
    holds = await store.holds(connection)
    ledger_sum = await store.ledger_sum(connection)
    differing = {
        "casts": len(drifts),
        "credits": len(credit_drifts),
        "holds": int(holds.drift_micros != 0),
        "ledger_sum": int(ledger_sum != 0),
        **{book.book: book.differing for book in compared},
    }
    result = Reconciliation(
        months=[month.isoformat()[:7] for month in months],
        balanced=not any(differing.values()),
        ledger_sum_micros=ledger_sum,
        holds=holds,
        differing=differing,
        drifts=drifts[:ROWS_SHOWN_MAX],
        credit_drifts=credit_drifts[:ROWS_SHOWN_MAX],
        books=compared,
    )
    report = msgspec.json.encode(result).decode()
    await store.insert_report(connection, scope=SCOPE, balanced=result.balanced, report=report)
    return result


async def _drifts(connection: Connection, month: date) -> list[Drift]:
    following = next_month(month)
    begins = datetime(month.year, month.month, 1, tzinfo=UTC)
    ends = datetime(following.year, following.month, 1, tzinfo=UTC)
    return await store.drifts(connection, begins=begins, ends=ends)
