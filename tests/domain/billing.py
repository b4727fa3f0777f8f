"""Accounts that owe for metered casts: casts accepted and settled at chosen instants, by a clock that tests move."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import psycopg

from domain.flow.billing_run import start_run
from domain.flow.freeze_invoice import Judged, freeze_invoice
from domain.flow.refund_cast import refund_cast
from domain.flow.settle import settle
from domain.model.audit import OPERATOR
from domain.model.messages import CastJob, Outcome
from domain.store import billing_runs
from domain.store.billing_runs import Run
from domain.store.connection import ANY_PLANS, Pool, Role, open_pool, transaction
from tests.domain import fake_clock
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.world import TOKEN_KEY, World, make_world

# A cast of the world with this much fuel costs 1,000 + 1.5 micros for each million of it.
MILLION = 1_000_000
# Hundreds of casts at once, beside whatever else the machine does.
PATIENCE_MS = 60_000


# A clock that stands still until it is moved: on a busy machine a tenth of a second before midnight is soon over.
STAND_STILL = b"""
CREATE TABLE fake.clock_instant AS SELECT pg_catalog.clock_timestamp() AS instant;
GRANT SELECT ON fake.clock_instant TO PUBLIC;
CREATE OR REPLACE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  'SELECT instant FROM fake.clock_instant';
-- A default names its function for good.
ALTER TABLE ledger_transfers ALTER COLUMN created_at SET DEFAULT fake.clock_timestamp();
"""


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """A world whose account is billed, with a clock that stands where it is put."""

    world: World
    pool: Pool

    async def at(self, instant: datetime) -> None:
        await self.world.rows("UPDATE fake.clock_instant SET instant = %s", instant)

    async def accept(self, instant: datetime, casts: int = 1, *, creator_price_micros: int = 0) -> list[CastJob]:
        await self.at(instant)
        specs = [self.world.spec(creator_price_micros=creator_price_micros)] * casts
        return await accept(self.world, self.pool, *specs)

    async def settle(self, jobs: Sequence[CastJob], instant: datetime, *, fuel: int = MILLION) -> None:
        await self.at(instant)
        async with transaction(self.pool) as connection:
            events = [event_of(job, Outcome.SUCCEEDED, fuel=fuel) for job in jobs]
            settled = await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
        assert len(settled.endings) == len(jobs)

    async def cast(
        self, instant: datetime, casts: int = 1, *, fuel: int = MILLION, creator_price_micros: int = 0
    ) -> list[CastJob]:
        """Accept and settle at once."""
        jobs = await self.accept(instant, casts, creator_price_micros=creator_price_micros)
        await self.settle(jobs, instant + timedelta(milliseconds=50), fuel=fuel)
        return jobs

    async def refund(self, job: CastJob, instant: datetime) -> None:
        await self.at(instant)
        async with transaction(self.pool) as connection:
            _, is_new = await refund_cast(
                connection, cast_id=job.cast_id, reason="it was wrong", actor=OPERATOR, now=instant
            )
        assert is_new

    async def run(self, period: date, now: datetime) -> Run:
        """Start a month's run, or go on with it."""
        await self.at(now)
        async with transaction(self.pool) as connection:
            await start_run(connection, period=period, run_id=uuid4(), now=now)
            run = await billing_runs.run_get(connection, period)
            assert run is not None
            after: UUID | None = UUID(int=0)
            while after is not None:
                owing, after = await billing_runs.accounts_owing(connection, period=period, after=after, limit=2)
                await billing_runs.accounts_insert(connection, run, owing, now=now)
        return run

    async def freeze(self, period: date, now: datetime) -> Judged:
        """Have the account billed in a month's run."""
        run = await self.run(period, now)
        async with transaction(self.pool) as connection:
            return await freeze_invoice(connection, run, account_id=self.world.account_id, invoice_id=uuid4(), now=now)

    async def owed(self) -> int:
        """Return what the ledger says the account owes for casts."""
        query = (
            "SELECT coalesce(sum(CASE debit WHEN %s THEN amount_micros ELSE -amount_micros END), 0)::bigint"
            " FROM ledger_transfers WHERE %s IN (debit, credit) AND spell_id IS NOT NULL"
        )
        name = f"receivable:{self.world.account_id}"
        return (await self.world.rows(query, name, name))[0][0]


@asynccontextmanager
async def open_billed(database_url: str, *, months: Sequence[date]) -> AsyncGenerator[Billed]:
    """Yield a world with partitions for these months and a customer at Stripe."""
    await fake_clock.install(database_url)
    world = await make_world(database_url, billing="auto")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        await owner.execute(STAND_STILL)
        for month in months:
            await owner.execute(b"SELECT partitions_ensure(%s, 2)", (month,))
        await add_customer(owner, world.account_id, f"cus_{world.account_id.hex[:14]}")
    async with open_pool(
        database_url, role=Role.ENGINE, size_max=8, plans=ANY_PLANS, statement_timeout_ms=PATIENCE_MS
    ) as pool:
        yield Billed(world=world, pool=pool)


async def add_customer(owner: psycopg.AsyncConnection, account_id: UUID, customer_id: str | None) -> None:
    await owner.execute(
        b"INSERT INTO billing_accounts (account_id, stripe_customer_id, created_at, updated_at)"
        b" VALUES (%s, %s, now(), now())",
        (account_id, customer_id),
    )
