"""A run of monthly payouts: started once a month, everybody listed, and finished when nobody is left who waits."""

from datetime import date, datetime
from uuid import UUID

from domain.model.outbox import OutboxKind
from domain.store import outbox
from domain.store import payout_runs as store
from domain.store.connection import Connection
from domain.store.payout_runs import PayoutRun, PayoutSummary


async def start_payouts(conn: Connection, *, period: date, run_id: UUID, now: datetime) -> None:
    """Start the run of a month that is over, or start it again.

    Started again it looks once more at whoever has no payout of the month, and whatever Stripe refused or did not
    answer is due at once. Needs Role.ENGINE; `run_id` is fresh.
    """
    await outbox.rows_now(conn, OutboxKind.PAYOUT, now=now)
    await store.run_start(conn, run_id=run_id, period=period, now=now)


async def finish_payouts(conn: Connection, run: PayoutRun, *, now: datetime) -> PayoutSummary | None:
    """Finish a run in which nothing is under way any more, and return how it stands; None when it is not so far.

    What is in trouble is tried again all the same. Of several who see it one is told.
    """
    summary = await store.summary_read(conn, run)
    if summary.pending or not await store.run_finish(conn, run, now=now):
        return None
    return summary
