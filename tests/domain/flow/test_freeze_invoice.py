"""Invoices frozen out of the real ledger: what casts cost, whenever they were settled, is billed once, to the micro."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from domain.flow.freeze_invoice import freeze_invoice, preview_invoice
from domain.store import billing_runs, invoices, usage
from domain.store.connection import BadRowError, LockTimeoutError, StoreError, statement, transaction
from tests.domain.billing import Billed, add_customer, open_billed
from tests.domain.invariants import broken
from tests.domain.world import admit

OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)
LEAP = date(2028, 2, 1)
MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
SIX = datetime(2026, 11, 1, 6, tzinfo=UTC)
GIGA = 1_000_000_000


@pytest.fixture
async def billed(database_url: str) -> AsyncGenerator[Billed]:
    async with open_billed(database_url, months=[OCTOBER, LEAP]) as opened:
        yield opened


async def frozen_rows(billed: Billed) -> list[tuple]:
    return await billed.world.rows(
        "SELECT period, usage_micros, carry_in_micros, carry_out_micros, total_cents, calls, status FROM invoices"
        " ORDER BY frozen_at"
    )


async def behind(billed: Billed) -> dict[tuple[date, date], tuple[int, int, int, int]]:
    """Return of each line, by period and month: its amount and calls, and the sum and number of the casts behind it."""
    found = {}
    lines = await billed.world.rows(
        "SELECT i.id, l.id, i.period, l.month, l.amount_micros, l.calls FROM invoice_lines l"
        " JOIN invoices i ON i.id = l.invoice_id"
    )
    for invoice_id, line_id, period, month, micros, calls in lines:
        async with transaction(billed.pool) as connection:
            casts = await invoices.casts_read(
                connection, billed.world.account_id, invoice_id, line_id=line_id, before=None, limit=1_000
            )
        found[period, month] = (micros, calls, sum(cast.amount_micros for cast in casts), len(casts))
    return found


async def test_a_month_is_frozen_once_and_every_line_opens_its_casts(billed: Billed) -> None:
    await billed.cast(datetime(2026, 10, 5, tzinfo=UTC), 200, fuel=GIGA, creator_price_micros=700)
    frozen = await billed.freeze(OCTOBER, SIX)
    assert frozen.outcome == "frozen"
    assert await frozen_rows(billed) == [(OCTOBER, 640_000, 0, 0, 64, 200, "pending")]
    assert await behind(billed) == {(OCTOBER, OCTOBER): (640_000, 200, 640_000, 200)}
    intent = (
        await billed.world.rows("SELECT kind, step, frozen ->> 'total_cents', frozen ->> 'description' FROM outbox")
    )[0]
    assert intent == ("invoice", "draft", "64", "Spell Platform API Usage - October 2026 (200 calls, $0.64)")
    assert (await billed.freeze(OCTOBER, SIX + timedelta(hours=1))).statement is None
    assert len(await frozen_rows(billed)) == 1
    assert await billed.world.rows("SELECT count(*) FROM outbox") == [(1,)]
    assert await broken(billed.world.database_url) == {}


async def test_a_cast_of_the_last_tenth_of_a_second_is_waited_for_until_six_and_late_afterwards(billed: Billed) -> None:
    await billed.cast(datetime(2026, 10, 5, tzinfo=UTC), 300, fuel=GIGA)
    (last,) = await billed.accept(datetime(2026, 10, 31, 23, 59, 59, 900_000, tzinfo=UTC))
    assert (await billed.freeze(OCTOBER, MIDNIGHT + timedelta(minutes=1))).outcome == "waiting"
    assert (await billed.freeze(OCTOBER, SIX - timedelta(seconds=1))).outcome == "waiting"
    assert await frozen_rows(billed) == []
    assert (await billed.freeze(OCTOBER, SIX)).outcome == "frozen"
    await billed.settle([last], SIX + timedelta(hours=1), fuel=GIGA)
    await billed.cast(datetime(2026, 11, 3, tzinfo=UTC), 200, fuel=GIGA)
    december = datetime(2026, 12, 1, 6, tzinfo=UTC)
    assert (await billed.freeze(NOVEMBER, december)).outcome == "frozen"
    assert await frozen_rows(billed) == [
        (OCTOBER, 750_000, 0, 0, 75, 300, "pending"),
        (NOVEMBER, 502_500, 0, 2_500, 50, 201, "pending"),
    ]
    assert await behind(billed) == {
        (OCTOBER, OCTOBER): (750_000, 300, 750_000, 300),
        (NOVEMBER, OCTOBER): (2_500, 1, 2_500, 1),
        (NOVEMBER, NOVEMBER): (500_000, 200, 500_000, 200),
    }


async def test_a_cast_that_ends_in_time_is_billed_with_its_month(billed: Billed) -> None:
    (last,) = await billed.accept(datetime(2026, 10, 31, 23, 59, 59, 900_000, tzinfo=UTC))
    assert (await billed.freeze(OCTOBER, MIDNIGHT)).outcome == "waiting"
    await billed.settle([last], MIDNIGHT + timedelta(minutes=2), fuel=GIGA)
    frozen = await billed.freeze(OCTOBER, MIDNIGHT + timedelta(minutes=3))
    assert frozen.outcome == "carried"
    assert await behind(billed) == {(OCTOBER, OCTOBER): (2_500, 1, 2_500, 1)}


async def test_casts_of_the_new_month_do_not_wait_for_the_old_ones_invoice(billed: Billed) -> None:
    """What is open belongs to November; and what it costs before October is frozen is November's all the same."""
    await billed.cast(datetime(2026, 10, 5, tzinfo=UTC), 300, fuel=GIGA)
    await billed.cast(MIDNIGHT + timedelta(minutes=1), 40, fuel=GIGA)
    (open_cast,) = await billed.accept(MIDNIGHT + timedelta(minutes=2))
    assert (await billed.freeze(OCTOBER, MIDNIGHT + timedelta(minutes=5))).outcome == "frozen"
    await billed.settle([open_cast], MIDNIGHT + timedelta(minutes=6), fuel=GIGA)
    await billed.cast(datetime(2026, 11, 9, tzinfo=UTC), 400, fuel=GIGA)
    assert (await billed.freeze(NOVEMBER, datetime(2026, 12, 1, 6, tzinfo=UTC))).outcome == "frozen"
    assert await behind(billed) == {
        (OCTOBER, OCTOBER): (750_000, 300, 750_000, 300),
        (NOVEMBER, NOVEMBER): (1_102_500, 441, 1_102_500, 441),
    }


async def test_a_leap_day_is_february(billed: Billed) -> None:
    await billed.cast(datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC), 250, fuel=GIGA)
    frozen = await billed.freeze(LEAP, datetime(2028, 3, 1, tzinfo=UTC))
    assert frozen.statement is not None
    assert frozen.statement.description == "Spell Platform API Usage - February 2028 (250 calls, $0.62)"
    assert (frozen.statement.total_cents, frozen.statement.carry_out_micros) == (62, 5_000)


async def test_what_is_carried_opens_the_next_invoice_to_the_micro(billed: Billed) -> None:
    await billed.cast(datetime(2026, 10, 5, tzinfo=UTC), 123, fuel=7_000_000)
    assert (await billed.freeze(OCTOBER, SIX)).outcome == "carried"
    await billed.cast(datetime(2026, 11, 5, tzinfo=UTC), 333, fuel=999_999_999, creator_price_micros=333)
    await billed.freeze(NOVEMBER, datetime(2026, 12, 1, 6, tzinfo=UTC))
    (first, second) = await frozen_rows(billed)
    assert first == (OCTOBER, 124_353, 0, 124_353, 0, 123, "carried")
    assert second[2] == 124_353
    assert second[4] * 10_000 + second[3] == await billed.owed() == 124_353 + second[1]
    assert 0 < second[3] < 10_000


async def test_credits_and_free_casts_are_not_billed_and_metered_ones_beside_them_are(billed: Billed) -> None:
    world = billed.world
    await billed.cast(datetime(2026, 10, 2, tzinfo=UTC), 260, fuel=GIGA)
    await world.rows(
        "INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros) VALUES (%s, %s, 50000, 50000)",
        uuid4(), world.account_id,
    )  # fmt: skip
    await billed.cast(datetime(2026, 10, 3, tzinfo=UTC), 5, fuel=GIGA)
    assert await world.rows("SELECT funding, count(*) FROM casts GROUP BY 1 ORDER BY 1") == [
        ("credits", 5), ("metered", 260),
    ]  # fmt: skip
    await billed.freeze(OCTOBER, SIX)
    assert await behind(billed) == {(OCTOBER, OCTOBER): (650_000, 260, 650_000, 260)}


async def test_totals_come_from_the_ledger_and_not_from_the_counters(billed: Billed) -> None:
    await billed.cast(datetime(2026, 10, 2, tzinfo=UTC), 260, fuel=GIGA)
    async with statement(billed.pool) as connection:
        assert await usage.count(connection) == 260
    await billed.world.rows("UPDATE usage_counters SET cost_micros = cost_micros * 2, casts = casts * 3")
    await billed.freeze(OCTOBER, SIX)
    assert await frozen_rows(billed) == [(OCTOBER, 650_000, 0, 0, 65, 260, "pending")]


async def test_a_refund_lowers_its_own_invoice_or_the_next_and_is_seen_at_its_cast(billed: Billed) -> None:
    early, late, *_ = await billed.cast(datetime(2026, 10, 2, tzinfo=UTC), 260, fuel=GIGA)
    await billed.refund(early, datetime(2026, 10, 9, tzinfo=UTC))
    await billed.freeze(OCTOBER, SIX)
    await billed.refund(late, SIX + timedelta(hours=1))
    await billed.cast(datetime(2026, 11, 2, tzinfo=UTC), 300, fuel=GIGA)
    frozen = await billed.freeze(NOVEMBER, datetime(2026, 12, 1, 6, tzinfo=UTC))
    assert frozen.statement is not None
    assert [item.description for item in frozen.statement.items] == [
        "Spell Platform API Usage - November 2026 (300 calls, $0.75)",
    ], "a quarter of a cent is no item"
    assert await behind(billed) == {
        (OCTOBER, OCTOBER): (647_500, 260, 647_500, 260),
        (NOVEMBER, OCTOBER): (-2_500, 0, -2_500, 1),
        (NOVEMBER, NOVEMBER): (750_000, 300, 750_000, 300),
    }
    (first, second) = await frozen_rows(billed)
    assert (first[4] + second[4]) * 10_000 + second[3] == await billed.owed() == 558 * 2_500


async def test_who_has_no_customer_is_skipped_and_billed_as_soon_as_there_is_one(billed: Billed) -> None:
    world = billed.world
    await world.rows("DELETE FROM billing_accounts")
    await billed.cast(datetime(2026, 10, 2, tzinfo=UTC), 260, fuel=GIGA)
    assert (await billed.freeze(OCTOBER, SIX)).outcome == "no_customer"
    async with await psycopg.AsyncConnection.connect(world.database_url, autocommit=True) as owner:
        await add_customer(owner, world.account_id, None)
    run = await billed.run(OCTOBER, SIX)
    async with transaction(billed.pool) as connection:
        assert await billing_runs.run_finish(connection, run, now=SIX) is False, "nobody has listed it"
        assert await billing_runs.run_listed(connection, run, now=SIX)
        assert await billing_runs.run_finish(connection, run, now=SIX)
    await world.rows("UPDATE billing_accounts SET stripe_customer_id = 'cus_late'")
    # Started again, the run looks at who was skipped once more.
    assert (await billed.freeze(OCTOBER, SIX + timedelta(days=1))).outcome == "frozen"
    assert await world.rows("SELECT stripe_customer_id, period FROM invoices") == [("cus_late", OCTOBER)]
    assert await world.rows("SELECT outcome FROM billing_run_accounts") == [("frozen",)]


async def test_an_account_that_is_never_billed_is_skipped(billed: Billed) -> None:
    await billed.cast(datetime(2026, 10, 2, tzinfo=UTC), 260, fuel=GIGA)
    await billed.world.rows("UPDATE accounts SET billing = 'off'")
    assert (await billed.freeze(OCTOBER, SIX)).outcome == "billing_off"
    assert await frozen_rows(billed) == []


@pytest.mark.parametrize(("billing", "subscribed"), [("off", True), ("off", False), ("auto", False)])
async def test_what_is_used_while_billing_is_off_is_never_billed(
    billed: Billed, *, billing: str, subscribed: bool
) -> None:
    """Not either what was accepted before it was turned on and settled behind that."""
    world = billed.world
    await world.rows("UPDATE accounts SET billing = %s, subscription_active = %s", billing, subscribed)
    await billed.cast(datetime(2026, 10, 2, tzinfo=UTC), 260, fuel=GIGA)
    open_jobs = await billed.accept(datetime(2026, 10, 3, tzinfo=UTC), 5)
    await world.rows("UPDATE accounts SET billing = 'on', subscription_active = true")
    await billed.settle(open_jobs, datetime(2026, 10, 3, 1, tzinfo=UTC), fuel=GIGA)
    assert await world.rows("SELECT funding, count(*) FROM casts GROUP BY 1") == [("unbilled", 265)]
    assert await billed.owed() == 0
    assert (await billed.freeze(OCTOBER, SIX)).outcome == "nothing"
    await billed.cast(datetime(2026, 11, 2, tzinfo=UTC), 260, fuel=GIGA)
    frozen = await billed.freeze(NOVEMBER, datetime(2026, 12, 1, 6, tzinfo=UTC))
    assert frozen.statement is not None
    assert (frozen.statement.usage_micros, frozen.statement.calls) == (260 * 2_500, 260)
    unbilled = "SELECT sum(amount_micros)::bigint FROM ledger_transfers WHERE debit = %s"
    assert await world.rows(unbilled, f"unbilled:{world.account_id}") == [(265 * 2_500,)]


async def test_who_owes_nothing_is_not_listed_and_whoever_may_come_to_is(billed: Billed) -> None:
    await billed.run(OCTOBER, SIX)
    assert await billed.world.rows("SELECT count(*) FROM billing_run_accounts") == [(0,)]
    (job,) = await billed.accept(datetime(2026, 10, 31, 23, 59, tzinfo=UTC))
    run = await billed.run(OCTOBER, MIDNIGHT)
    async with transaction(billed.pool) as connection:
        assert await billing_runs.accounts_due(connection, run, now=MIDNIGHT, limit=5) == [billed.world.account_id]
    await billed.settle([job], MIDNIGHT + timedelta(seconds=1))
    assert (await billed.freeze(OCTOBER, MIDNIGHT + timedelta(seconds=2))).outcome == "carried"


async def test_three_at_once_freeze_one_invoice(billed: Billed) -> None:
    await billed.cast(datetime(2026, 10, 5, tzinfo=UTC), 300, fuel=GIGA)
    run = await billed.run(OCTOBER, SIX)
    start = asyncio.Barrier(3)

    async def freeze() -> str:
        async with transaction(billed.pool) as connection:
            await connection.execute(b"SELECT 1")
            await start.wait()
            frozen = await freeze_invoice(
                connection, run, account_id=billed.world.account_id, invoice_id=uuid4(), now=SIX
            )
            return "written" if frozen.statement is not None else "found"

    assert sorted(await asyncio.gather(freeze(), freeze(), freeze())) == ["found", "found", "written"]
    assert len(await frozen_rows(billed)) == 1
    assert await billed.world.rows("SELECT count(*) FROM outbox") == [(1,)]


async def test_a_settlement_under_way_is_waited_for(billed: Billed) -> None:
    """What is settled before the freeze is in it: the freeze reads behind the account's lock."""
    (job,) = await billed.accept(datetime(2026, 10, 5, tzinfo=UTC))
    run = await billed.run(OCTOBER, SIX)
    async with transaction(billed.pool) as held:
        await invoices.account_lock(held, billed.world.account_id)
        with pytest.raises(LockTimeoutError):
            async with transaction(billed.pool) as connection:
                await freeze_invoice(connection, run, account_id=billed.world.account_id, invoice_id=uuid4(), now=SIX)
    await billed.settle([job], SIX)
    assert await billed.owed() == 1_002


async def test_killed_before_its_commit_it_leaves_nothing_and_the_next_does_it_all(billed: Billed) -> None:
    await billed.cast(datetime(2026, 10, 5, tzinfo=UTC), 300, fuel=GIGA)
    run = await billed.run(OCTOBER, SIX)

    async def freeze_and_die() -> None:
        async with transaction(billed.pool) as connection:
            await freeze_invoice(connection, run, account_id=billed.world.account_id, invoice_id=uuid4(), now=SIX)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await freeze_and_die()
    assert await frozen_rows(billed) == []
    assert (await billed.freeze(OCTOBER, SIX)).outcome == "frozen"
    assert await billed.world.rows("SELECT count(*) FROM invoice_lines") == [(1,)]


async def test_the_database_refuses_a_second_invoice_of_a_month_and_a_sum_that_is_wrong(billed: Billed) -> None:
    await billed.cast(datetime(2026, 10, 5, tzinfo=UTC), 300, fuel=GIGA)
    await billed.freeze(OCTOBER, SIX)
    copy = (
        "INSERT INTO invoices (id, account_id, run_id, period, frozen_at, usage_micros, carry_in_micros,"
        " carry_out_micros, total_cents, calls, description, status)"
        " SELECT gen_random_uuid(), account_id, run_id, {}, frozen_at, {}, 0, 0, total_cents, calls, '', status"
        " FROM invoices"
    )
    for period, micros in (("period", "usage_micros"), ("date '2026-12-01'", "usage_micros + 1")):
        with pytest.raises(BadRowError):
            async with transaction(billed.pool) as connection:
                await connection.execute(copy.format(period, micros).encode())
    for change in ("UPDATE invoices SET total_cents = 1", "UPDATE invoice_lines SET calls = 1", "DELETE FROM invoices"):
        with pytest.raises(StoreError, match="permission denied"):
            async with transaction(billed.pool) as connection:
                await connection.execute(change.encode())


async def test_a_preview_says_what_an_invoice_would(billed: Billed) -> None:
    async with transaction(billed.pool) as connection:
        nothing = await preview_invoice(connection, account_id=billed.world.account_id, period=OCTOBER)
    assert (nothing.statement, nothing.carry_micros) == (None, 0)
    await billed.cast(datetime(2026, 10, 5, tzinfo=UTC), 300, fuel=GIGA)
    async with transaction(billed.pool) as connection:
        preview = await preview_invoice(connection, account_id=billed.world.account_id, period=OCTOBER)
    frozen = await billed.freeze(OCTOBER, SIX)
    assert preview.statement == frozen.statement
    assert (await admit(billed.pool, billed.world.request()))[0] is not None
