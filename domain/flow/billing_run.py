"""A run of monthly billing: started once a month, everybody listed, and finished when nobody is left who waits."""

from datetime import date, datetime
from uuid import UUID

from domain.model.outbox import OutboxKind
from domain.store import billing_runs as store
from domain.store import outbox
from domain.store.billing_runs import Run, Summary
from domain.store.connection import Connection


async def start_run(conn: Connection, *, period: date, run_id: UUID, now: datetime) -> None:
    """Start the run of a month that is over, or start it again.

    Started again it looks once more at whoever has no invoice of the month, and whatever Stripe refused or did not
    answer is due at once. Needs Role.ENGINE; `run_id` is fresh.
    """
    await outbox.rows_now(conn, OutboxKind.INVOICE, now=now)
    await store.run_start(conn, run_id=run_id, period=period, now=now)


async def finish_run(conn: Connection, run: Run, *, now: datetime) -> Summary | None:
    """Finish a run in which nothing is under way any more, and return how it stands; None when it is not so far.

    What is in trouble is tried again all the same. Of several who see it one is told.
    """
    summary = await store.summary_read(conn, run)
    if summary.pending or not await store.run_finish(conn, run, now=now):
        return None
    return summary
