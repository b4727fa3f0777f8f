"""Runs of monthly billing as the scheduler makes them, on the local Stripe: what is logged, skipped and made up for."""

import logging
import random
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from domain.model.outbox import BLOCKED_PAUSE
from domain.store import billing_runs
from domain.store.billing_runs import Summary
from domain.store.connection import Pool, transaction
from local.stripe.fake import FakeStripe
from scheduler.billing import bill, go_on, start
from scheduler.outbox.loop import LEASE
from tests.domain.world import World
from tests.scheduler.billed_many import check_books, clockwork_of, customers_for, gateway_of, owe, send, use

OCTOBER = date(2026, 10, 1)
NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)


async def summary(pool: Pool, period: date = OCTOBER) -> Summary:
    async with transaction(pool) as connection:
        run = await billing_runs.run_get(connection, period)
        assert run is not None
        return await billing_runs.summary_read(connection, run)


async def set_account(world: World, account_id: UUID, change: str) -> None:
    await world.rows(f"UPDATE {change} = %s", account_id)  # words of this file


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "spell.billing"]


async def test_the_clock_bills_the_month_that_is_over_and_says_what_it_always_said(
    world: World, pool: Pool, fake: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spell.billing")
    clockwork = clockwork_of(pool)
    owed = await owe(world, await customers_for(fake, 1), [OCTOBER], random.Random(5))
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    assert "billing is off" in await bill(clockwork_of(pool, billing=False), midnight)
    await bill(clockwork, midnight)
    await send(pool, fake, midnight)
    await bill(clockwork, midnight + timedelta(seconds=2))
    await bill(clockwork, midnight + timedelta(seconds=4))
    await check_books(world, fake, owed)
    (account_id,) = owed
    (stripe_id, cents, calls) = (
        await world.rows("SELECT stripe_invoice_id, total_cents, calls FROM invoices WHERE account_id = %s", account_id)
    )[0]
    assert lines_of(caplog) == [
        "Starting monthly billing process",
        "Processing billing for period: 2026-10-01 to 2026-10-31",
        "Found 1 users with usage",
        f"Created invoice {stripe_id} for user {account_id} (${cents // 100}.{cents % 100:02d}, {calls} calls)",
        "Monthly billing completed: 1 successful, 0 errors",
    ]
    assert fake.invoices()[0]["description"] == (
        f"Spell Platform API Usage - October 2026 ({calls} calls, ${cents // 100}.{cents % 100:02d})"
    )


async def test_who_is_skipped_is_told_of_and_nobody_loses_anything(
    world: World, pool: Pool, fake: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    owed = await owe(world, await customers_for(fake, 4), [OCTOBER], random.Random(5))
    poor, strange, spared, _ = owed
    await world.rows("DELETE FROM billing_accounts WHERE account_id = %s", strange)
    await set_account(world, spared, "accounts SET billing = 'off' WHERE id")
    async with await psycopg.AsyncConnection.connect(world.database_url) as owner:
        await owner.execute(b"ALTER TABLE ledger_transfers DISABLE ROW LEVEL SECURITY")
        await owner.execute(b"UPDATE ledger_transfers SET amount_micros = 7 WHERE account_id = %s", (poor,))
    await start(pool, OCTOBER, NOW)
    await go_on(pool, NOW)
    await send(pool, fake, NOW)
    await go_on(pool, NOW + timedelta(seconds=1))
    found = await summary(pool)
    assert (found.users, found.successful, found.errors, found.skipped, found.pending) == (4, 1, 0, 3, 0)
    skipped = [line for line in lines_of(caplog) if line.startswith("Skipped")]
    assert sorted(skipped) == sorted([f"Skipped user {strange}: no_customer", f"Skipped user {spared}: billing_off"])
    async with transaction(pool) as connection:
        run = await billing_runs.run_get(connection, OCTOBER)
        assert run is not None
        accounts = await billing_runs.accounts_of_run(connection, run, limit=10)
    assert sorted(account.outcome for account in accounts) == ["billing_off", "carried", "frozen", "no_customer"]


async def test_one_users_failure_stops_no_other_and_is_made_up_for(
    world: World, pool: Pool, fake: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    customers = await customers_for(fake, 3)
    owed = await owe(world, customers, [OCTOBER], random.Random(5))
    broken = list(owed)[1]
    await world.rows("UPDATE billing_accounts SET stripe_customer_id = 'cus_gone' WHERE account_id = %s", broken)
    await start(pool, OCTOBER, NOW)
    await go_on(pool, NOW)
    await send(pool, fake, NOW)
    await go_on(pool, NOW + timedelta(seconds=1))
    found = await summary(pool)
    assert (found.successful, found.errors, found.pending) == (2, 1, 0)
    failures = [line for line in lines_of(caplog) if line.startswith("Failed to bill user")]
    assert len(failures) == 1
    assert failures[0].startswith(f"Failed to bill user {broken}: Stripe refused")
    assert "Stripe restores no customer that was deleted" in failures[0]
    # It is tried again by itself, rarely, and stays frozen for the customer it was frozen for.
    later = NOW + BLOCKED_PAUSE + timedelta(minutes=1)
    await send(pool, fake, later)
    assert (await world.rows("SELECT epoch, status FROM outbox WHERE account_id = %s", broken)) == [(1, "pending")]
    assert len(fake.invoices()) == 2


async def test_stripe_may_be_down_for_a_day(world: World, pool: Pool, fake: FakeStripe) -> None:
    owed = await owe(world, await customers_for(fake, 3), [OCTOBER], random.Random(5))
    fake.stop()
    await start(pool, OCTOBER, NOW)
    await go_on(pool, NOW)
    now = NOW
    for _ in range(12):
        await send(pool, fake, now)
        now += timedelta(hours=2)
    found = await summary(pool)
    assert (found.users, found.successful, found.errors) == (3, 0, 3)
    fake.start()
    await start(pool, OCTOBER, now)
    await send(pool, fake, now)
    await go_on(pool, now)
    found = await summary(pool)
    assert (found.users, found.successful, found.errors) == (3, 3, 0)
    await check_books(world, fake, owed)


async def test_what_stripe_adds_up_differently_is_not_finalized(world: World, pool: Pool, fake: FakeStripe) -> None:
    customers = await customers_for(fake, 1)
    await owe(world, customers, [OCTOBER], random.Random(5))
    await start(pool, OCTOBER, NOW)
    await go_on(pool, NOW)
    fake.fail("rate_limit", path="/v1/invoices/", method="GET")
    await send(pool, fake, NOW)
    (step,) = await world.rows("SELECT step FROM outbox")
    assert step == ("check",)
    (draft,) = fake.invoices()
    async with gateway_of(fake) as gateway:
        await gateway.invoices.add_item(
            draft["id"], customer_id=customers[0], amount_cents=7, description="x", metadata={}, key="by hand"
        )
    await send(pool, fake, NOW + LEASE)
    (row,) = await world.rows("SELECT step, is_blocked, trouble FROM outbox")
    assert row[:2] == ("check", True)
    assert "it is not finalized" in row[2]
    assert fake.invoices()[0]["status"] == "draft"
    # Put right by hand at Stripe, it goes on.
    (item,) = [item for item in fake.objects("invoiceitem") if item["description"] == "x"]
    async with gateway_of(fake) as gateway:
        await gateway.invoices.add_item(
            draft["id"], customer_id=customers[0], amount_cents=-item["amount"], description="y", metadata={}, key="so"
        )
    await start(pool, OCTOBER, NOW + LEASE * 2)
    await send(pool, fake, NOW + LEASE * 2)
    assert fake.invoices()[0]["status"] == "open"


async def test_usage_that_comes_while_a_run_is_under_way_is_the_next_ones(
    world: World, pool: Pool, fake: FakeStripe
) -> None:
    owed = await owe(world, await customers_for(fake, 2), [OCTOBER], random.Random(5))
    await start(pool, OCTOBER, NOW)
    await go_on(pool, NOW)
    async with await psycopg.AsyncConnection.connect(world.database_url) as owner:
        for account_id in owed:
            owed[account_id] += await use(owner, world, account_id, OCTOBER, random.Random(9))
    for _ in range(2):
        await start(pool, OCTOBER, NOW)
        await go_on(pool, NOW)
        await send(pool, fake, NOW)
    assert await world.rows("SELECT count(*) FROM invoices") == [(2,)]
    december = datetime(2026, 12, 1, 6, tzinfo=UTC)
    await bill(clockwork_of(pool), december)
    await send(pool, fake, december)
    await check_books(world, fake, owed)
    late = [item["description"] for item in fake.objects("invoiceitem") if "late usage" in item["description"]]
    assert len(late) == 2
    assert all(text.startswith("late usage of October 2026 (") for text in late)
