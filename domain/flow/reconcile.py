"""Compare the books with each other: casts = usage events = counters = ledger = months, held = open holds, sum = 0.

Credits are the same by the grants, by the history of their balance and in the ledger. What differs is reported with the
rows that differ and never mended here.
"""

from datetime import UTC, datetime

import msgspec

from domain.model.periods import month_of, next_month
from domain.store import schedule as store
from domain.store.connection import Connection
from domain.store.schedule import CreditDrift, Drift, HoldTotals


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What one comparison found."""

    month: str
    balanced: bool
    ledger_sum_micros: int
    holds: HoldTotals
    drifts: list[Drift]
    credit_drifts: list[CreditDrift]


async def reconcile(connection: Connection, *, now: datetime) -> Reconciliation:
    """Compare the books of the month that holds `now` and keep the report.

    Run it in a `snapshot`, so that all its statements see one instant.
    """
    month = month_of(now)
    following = next_month(month)
    begins = datetime(month.year, month.month, 1, tzinfo=UTC)
    ends = datetime(following.year, following.month, 1, tzinfo=UTC)
    drifts = await store.drifts(connection, begins=begins, ends=ends)
    credit_drifts = await store.credit_drifts(connection)
    holds = await store.holds(connection)
    ledger_sum = await store.ledger_sum(connection)
    result = Reconciliation(
        month=month.isoformat()[:7],
        balanced=not drifts and not credit_drifts and ledger_sum == 0 and holds.drift_micros == 0,
        ledger_sum_micros=ledger_sum,
        holds=holds,
        drifts=drifts,
        credit_drifts=credit_drifts,
    )
    await store.insert_report(connection, balanced=result.balanced, report=msgspec.json.encode(result).decode())
    return result
