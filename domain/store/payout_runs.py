"""Runs of monthly payouts: one for each month, whom it looks at, and what became of them."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.outbox import TROUBLED_ATTEMPTS
from domain.model.payouts import Outcome
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class PayoutRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    id: UUID
    period: date
    started_at: datetime
    listed_at: datetime | None
    finished_at: datetime | None


class PayoutSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands, counted in creators."""

    creators: int
    """Who is owed something."""
    successful: int
    """Their transfer is made at Stripe."""
    errors: int
    """Stripe refused, does not answer, or has too little money of the platform's: a person should look."""
    skipped: int
    """Below the minimum, held back, or without an account that can be paid: nothing is lost, a later run pays it."""
    paid_cents: int

    @property
    def pending(self) -> int:
        """Still under way."""
        return self.creators - self.successful - self.errors - self.skipped


class PayoutRunAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a creator in a run."""

    account_id: UUID
    handle: str
    outcome: str
    payable_micros: int
    """When it was looked at, before anything was paid."""
    trouble: str | None
    amount_cents: int | None
    status: str | None
    stripe_transfer_id: str | None


async def run_start(conn: Connection, *, run_id: UUID, period: date, now: datetime) -> None:
    """Start a month's run, or start it again."""
    await conn.execute(_QUERIES["run_start"], {"id": run_id, "period": period, "now": now})


async def run_get(conn: Connection, period: date) -> PayoutRun | None:
    """Return the run of a month."""
    async with conn.cursor(row_factory=class_row(PayoutRun)) as cursor:
        await cursor.execute(_QUERIES["run_get"], {"period": period})
        return await cursor.fetchone()


async def runs_open(conn: Connection) -> list[PayoutRun]:
    """Return the runs there is something to do in, the oldest month first."""
    async with conn.cursor(row_factory=class_row(PayoutRun)) as cursor:
        await cursor.execute(_QUERIES["runs_open"])
        return await cursor.fetchall()


async def accounts_owed(conn: Connection, *, after: UUID, limit: int) -> tuple[list[UUID], UUID | None]:
    """Return who among the next `limit` accounts is owed something, and where the next page begins.

    None: there is no next page.
    """
    row = await (await conn.execute(_QUERIES["accounts_owed"], {"after": after, "limit": limit})).fetchone()
    assert row is not None, "a SELECT of subqueries makes one row"
    return row[0], row[1]


async def accounts_insert(conn: Connection, run: PayoutRun, ids: Sequence[UUID], *, now: datetime) -> None:
    """Have a run look at these accounts."""
    await conn.execute(_QUERIES["accounts_insert"], {"run_id": run.id, "ids": list(ids), "now": now})


async def run_listed(conn: Connection, run: PayoutRun, *, now: datetime) -> bool:
    """Note that everybody is listed; False when somebody else did."""
    return (await conn.execute(_QUERIES["run_listed"], {"id": run.id, "now": now})).rowcount == 1


async def accounts_due(conn: Connection, run: PayoutRun, *, now: datetime, limit: int) -> list[UUID]:
    """Return accounts of a run whose turn it is."""
    cursor = await conn.execute(_QUERIES["accounts_due"], {"run_id": run.id, "now": now, "limit": limit})
    return [row[0] for row in await cursor.fetchall()]


async def account_note(
    conn: Connection, run: PayoutRun, account_id: UUID, outcome: Outcome, *, payable_micros: int
) -> None:
    """Note what became of an account; what is noted stays, until the run is started again."""
    parameters = {"run_id": run.id, "account_id": account_id, "outcome": outcome, "payable_micros": payable_micros}
    await conn.execute(_QUERIES["account_note"], parameters)


async def account_delay(
    conn: Connection, run: PayoutRun, account_id: UUID, *, look_at: datetime, trouble: str | None
) -> None:
    """Look at an account later, and note why."""
    parameters = {"run_id": run.id, "account_id": account_id, "look_at": look_at, "trouble": trouble}
    await conn.execute(_QUERIES["account_delay"], parameters)


async def summary_read(conn: Connection, run: PayoutRun) -> PayoutSummary:
    """Return how a run stands."""
    async with conn.cursor(row_factory=class_row(PayoutSummary)) as cursor:
        parameters = {"run_id": run.id, "troubled_attempts": TROUBLED_ATTEMPTS}
        await cursor.execute(_QUERIES["summary_read"], parameters)
        row = await cursor.fetchone()
    assert row is not None, "aggregates make one row"
    return row


async def run_finish(conn: Connection, run: PayoutRun, *, now: datetime) -> bool:
    """Note that a run is finished; False when somebody else did."""
    return (await conn.execute(_QUERIES["run_finish"], {"id": run.id, "now": now})).rowcount == 1


async def accounts_of_run(conn: Connection, run: PayoutRun, *, limit: int) -> list[PayoutRunAccount]:
    """Return what became of the creators of a run, those with trouble first."""
    async with conn.cursor(row_factory=class_row(PayoutRunAccount)) as cursor:
        await cursor.execute(_QUERIES["accounts_of_run"], {"run_id": run.id, "limit": limit})
        return await cursor.fetchall()
