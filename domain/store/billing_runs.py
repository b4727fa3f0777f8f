"""Runs of monthly billing: one for each month, whom it looks at, and what became of them."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.outbox import TROUBLED_ATTEMPTS
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)

Outcome = Literal["waiting", "frozen", "carried", "nothing", "no_customer", "billing_off"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    id: UUID
    period: date
    started_at: datetime
    listed_at: datetime | None
    finished_at: datetime | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands, counted in accounts."""

    users: int
    """With something to bill, or with casts open that may come to be."""
    successful: int
    """Their invoice is finalized at Stripe."""
    errors: int
    """Stripe refuses, or has not answered for a while, or the platform failed: a person should look. Tried again."""
    skipped: int
    """Below the minimum, without a customer at Stripe, or not billed: nothing is lost, a later run bills it."""

    @property
    def pending(self) -> int:
        """Still under way."""
        return self.users - self.successful - self.errors - self.skipped


class RunAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an account in a run."""

    account_id: UUID
    handle: str
    outcome: str
    trouble: str | None
    total_cents: int | None
    calls: int | None
    status: str | None
    stripe_invoice_id: str | None


async def run_start(conn: Connection, *, run_id: UUID, period: date, now: datetime) -> None:
    """Start a month's run, or start it again."""
    await conn.execute(_QUERIES["run_start"], {"id": run_id, "period": period, "now": now})


async def run_get(conn: Connection, period: date) -> Run | None:
    """Return the run of a month."""
    async with conn.cursor(row_factory=class_row(Run)) as cursor:
        await cursor.execute(_QUERIES["run_get"], {"period": period})
        return await cursor.fetchone()


async def runs_open(conn: Connection) -> list[Run]:
    """Return the runs there is something to do in, the oldest month first."""
    async with conn.cursor(row_factory=class_row(Run)) as cursor:
        await cursor.execute(_QUERIES["runs_open"])
        return await cursor.fetchall()


async def accounts_owing(conn: Connection, *, period: date, after: UUID, limit: int) -> tuple[list[UUID], UUID | None]:
    """Return who among the next `limit` accounts owes something or may come to, and where the next page begins.

    None: there is no next page.
    """
    parameters = {"period": period, "after": after, "limit": limit}
    row = await (await conn.execute(_QUERIES["accounts_owing"], parameters)).fetchone()
    assert row is not None, "a SELECT of subqueries makes one row"
    return row[0], row[1]


async def accounts_insert(conn: Connection, run: Run, ids: Sequence[UUID], *, now: datetime) -> None:
    """Have a run look at these accounts."""
    await conn.execute(_QUERIES["accounts_insert"], {"run_id": run.id, "ids": list(ids), "now": now})


async def run_listed(conn: Connection, run: Run, *, now: datetime) -> bool:
    """Note that everybody is listed; False when somebody else did."""
    return (await conn.execute(_QUERIES["run_listed"], {"id": run.id, "now": now})).rowcount == 1


async def accounts_due(conn: Connection, run: Run, *, now: datetime, limit: int) -> list[UUID]:
    """Return accounts of a run whose turn it is."""
    cursor = await conn.execute(_QUERIES["accounts_due"], {"run_id": run.id, "now": now, "limit": limit})
    return [row[0] for row in await cursor.fetchall()]


async def account_note(
    conn: Connection, run: Run, account_id: UUID, outcome: Outcome, *, look_at: datetime, trouble: str | None = None
) -> None:
    """Note what became of an account; what is noted as anything but waiting stays."""
    parameters = {
        "run_id": run.id,
        "account_id": account_id,
        "outcome": outcome,
        "look_at": look_at,
        "trouble": trouble,
    }
    await conn.execute(_QUERIES["account_note"], parameters)


async def summary_read(conn: Connection, run: Run) -> Summary:
    """Return how a run stands."""
    async with conn.cursor(row_factory=class_row(Summary)) as cursor:
        parameters = {"run_id": run.id, "troubled_attempts": TROUBLED_ATTEMPTS}
        await cursor.execute(_QUERIES["summary_read"], parameters)
        row = await cursor.fetchone()
    assert row is not None, "aggregates make one row"
    return row


async def run_finish(conn: Connection, run: Run, *, now: datetime) -> bool:
    """Note that a run is finished; False when somebody else did."""
    return (await conn.execute(_QUERIES["run_finish"], {"id": run.id, "now": now})).rowcount == 1


async def accounts_of_run(conn: Connection, run: Run, *, limit: int) -> list[RunAccount]:
    """Return what became of the accounts of a run, those with trouble first."""
    async with conn.cursor(row_factory=class_row(RunAccount)) as cursor:
        await cursor.execute(_QUERIES["accounts_of_run"], {"run_id": run.id, "limit": limit})
        return await cursor.fetchall()
