"""A payout from the freeze to its end, and back: never twice, never more than is owed, and nothing is lost."""

from collections.abc import AsyncGenerator
from datetime import date, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.end_payout import end_payout
from domain.flow.follow_transfer import follow_transfer
from domain.flow.freeze_payout import JudgedPayout, freeze_payout, judge_payout
from domain.flow.payout_run import start_payouts
from domain.model.outbox import Finished, OutboxStatus
from domain.model.payouts import HELD_BACK
from domain.model.stripe_money import Transfer
from domain.store import outbox, payout_runs, payouts
from domain.store.connection import (
    ANY_PLANS,
    BadRowError,
    LockTimeoutError,
    Pool,
    Role,
    StoreError,
    open_pool,
    transaction,
)
from domain.store.payout_runs import PayoutRun
from domain.store.payouts import NewPayout
from tests.domain.creators import BEFORE, DAY, DOLLAR, NOVEMBER, OCTOBER, balances, make_creator, owe, sent, told
from tests.domain.world import World, make_world


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=6, plans=ANY_PLANS) as opened:
        yield opened


async def run_of(pool: Pool, period: date = OCTOBER) -> PayoutRun:
    async with transaction(pool) as connection:
        if await payout_runs.run_get(connection, period) is None:
            await start_payouts(connection, period=period, run_id=uuid4(), now=DAY)
        run = await payout_runs.run_get(connection, period)
    assert run is not None
    return run


async def freeze(pool: Pool, creator: UUID, period: date = OCTOBER, *, now: datetime = DAY) -> JudgedPayout:
    run = await run_of(pool, period)
    async with transaction(pool) as connection:
        return await freeze_payout(connection, run, account_id=creator, payout_id=uuid4(), now=now)


async def payout_of(world: World, period: date = OCTOBER) -> UUID:
    ((payout_id,),) = await world.rows("SELECT id FROM payouts WHERE period = %s", period)
    return payout_id


async def end(world: World, pool: Pool, creator: UUID, status: OutboxStatus = OutboxStatus.DONE) -> None:
    """The outbox hears what became of it."""
    payout_id = await payout_of(world)
    finished = Finished(
        id=payout_id, account_id=creator, subject_id=payout_id, frozen=msgspec.Raw(b"{}"),
        known={"transfer_id": "tr_1", "code": "account_invalid"}, status=status,
    )  # fmt: skip
    async with transaction(pool) as connection:
        await outbox.account_lock(connection, creator)
        await end_payout(connection, finished, DAY)


async def take_back(world: World, pool: Pool, cents: int, *, transfer_id: str = "tr_1", to: str = "acct_1") -> bool:
    payout_id = await payout_of(world)
    found = Transfer(id=transfer_id, destination_id=to, amount_cents=2500, reversed_cents=cents, metadata={})
    async with transaction(pool) as connection:
        return await follow_transfer(connection, payout_id, found, now=DAY)


async def test_whole_cents_leave_and_the_rest_stays(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR + 9_999)
    async with transaction(pool) as connection:
        planned = await judge_payout(connection, account_id=creator, period=OCTOBER, now=DAY)
    assert (planned.outcome, planned.amount_cents) == ("frozen", 2500)
    assert await balances(world, creator) == {"payable": 25 * DOLLAR + 9_999}
    assert (await freeze(pool, creator)).amount_cents == 2500
    assert (await freeze(pool, creator)).outcome == "frozen"
    assert await balances(world, creator) == {"payable": 9_999, "paying": 25 * DOLLAR}
    assert await world.rows("SELECT amount_cents, status FROM payouts") == [(2500, "pending")]
    ((kind, frozen),) = await world.rows("SELECT kind, frozen FROM outbox")
    assert kind == "payout"
    assert frozen == {
        "destination_id": "acct_1", "amount_cents": 2500, "description": "Spell Platform payout - October 2026",
    }  # fmt: skip


async def test_what_became_payable_lately_waits(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 30 * DOLLAR, at=DAY - HELD_BACK + timedelta(seconds=1))
    assert (await freeze(pool, creator)).outcome == "held_back"
    await owe(world, creator, 12 * DOLLAR, at=DAY - HELD_BACK)
    await world.rows("UPDATE payout_run_accounts SET outcome = 'waiting'")
    assert (await freeze(pool, creator)).amount_cents == 1200
    assert await balances(world, creator) == {"payable": 30 * DOLLAR, "paying": 12 * DOLLAR}


async def test_what_a_payout_gave_back_does_not_wait_again(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR)
    await freeze(pool, creator)
    await end(world, pool, creator, OutboxStatus.REFUSED)
    await world.rows("UPDATE ledger_transfers SET created_at = %s WHERE kind LIKE 'payout%%'", DAY)
    assert (await freeze(pool, creator, NOVEMBER)).amount_cents == 2500


async def test_a_debt_is_netted_and_pays_nobody(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, -5 * DOLLAR)
    assert (await freeze(pool, creator)).outcome == "nothing"
    await owe(world, creator, 20 * DOLLAR)
    assert (await freeze(pool, creator, NOVEMBER)).amount_cents == 1500
    assert await balances(world, creator) == {"paying": 15 * DOLLAR}


@pytest.mark.parametrize(
    ("stripe_account", "status", "micros", "outcome"),
    [
        (None, "active", 25 * DOLLAR, "no_account"),
        ("acct_1", "suspended", 25 * DOLLAR, "suspended"),
        ("acct_1", "active", 10 * DOLLAR - 1, "below_minimum"),
        ("acct_1", "erased", 25 * DOLLAR, "frozen"),
    ],
)
async def test_who_is_skipped_loses_nothing(
    world: World, pool: Pool, stripe_account: str | None, status: str, micros: int, outcome: str
) -> None:
    creator = await make_creator(world, stripe_account, status=status)
    await owe(world, creator, micros)
    assert (await freeze(pool, creator)).outcome == outcome
    assert sum((await balances(world, creator)).values()) == micros


async def test_two_months_at_once_pay_no_more_than_is_owed(world: World, pool: Pool) -> None:
    """One run is under way for each of two months: the second sees what the first took."""
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR)
    run = await run_of(pool, OCTOBER)
    other = await run_of(pool, NOVEMBER)
    async with transaction(pool) as first:
        assert (await freeze_payout(first, run, account_id=creator, payout_id=uuid4(), now=DAY)).amount_cents == 2500

        with pytest.raises(LockTimeoutError):
            async with transaction(pool) as second:
                await freeze_payout(second, other, account_id=creator, payout_id=uuid4(), now=DAY)
    assert (await freeze(pool, creator, NOVEMBER)).outcome == "nothing"
    assert await balances(world, creator) == {"paying": 25 * DOLLAR}


async def test_a_month_is_frozen_once_whatever_the_program_believes(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR)
    run = await run_of(pool)
    await freeze(pool, creator)
    again = NewPayout(
        id=uuid4(), account_id=creator, run_id=run.id, period=OCTOBER, payable_micros=25 * DOLLAR, held_back_micros=0,
        amount_cents=2500, stripe_account_id="acct_1",
    )  # fmt: skip
    with pytest.raises(BadRowError):
        async with transaction(pool) as connection:
            await payouts.payout_insert(connection, again, now=DAY)
    above = msgspec.structs.replace(again, period=NOVEMBER, amount_cents=2501)
    with pytest.raises(BadRowError):
        async with transaction(pool) as connection:
            await payouts.payout_insert(connection, above, now=DAY)


async def test_paid_is_booked_and_told_once(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR)
    await freeze(pool, creator)
    await end(world, pool, creator)
    await end(world, pool, creator)
    assert await balances(world, creator) == {}
    assert await sent(world) == 25 * DOLLAR
    assert await told(world) == [("payout.paid", "You were paid $25.00")]
    assert await world.rows("SELECT status, stripe_transfer_id, finished_at FROM payouts") == [("paid", "tr_1", DAY)]


async def test_refused_is_owed_again_and_told_once(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR)
    await freeze(pool, creator)
    await end(world, pool, creator, OutboxStatus.REFUSED)
    await end(world, pool, creator, OutboxStatus.REFUSED)
    assert await balances(world, creator) == {"payable": 25 * DOLLAR}
    assert await sent(world) == 0
    assert await told(world) == [("payout.failed", "A payout of $25.00 failed")]
    assert (await freeze(pool, creator)).outcome == "frozen", "a month has one payout"
    assert not await take_back(world, pool, 2500), "it is owed already"
    assert await balances(world, creator) == {"payable": 25 * DOLLAR}


@pytest.mark.parametrize("order", list(permutations(("end", 700, 2500))))
async def test_in_whatever_order_it_is_taken_back_it_is_owed_again_once(
    world: World, pool: Pool, order: tuple[str | int, ...]
) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR)
    await freeze(pool, creator)
    for what in order:
        for _ in range(2):
            if isinstance(what, int):
                await take_back(world, pool, what)
            else:
                await end(world, pool, creator)
    assert await balances(world, creator) == {"payable": 25 * DOLLAR}
    assert await sent(world) == 0
    assert await world.rows("SELECT status, reversed_cents FROM payouts") == [("paid", 2500)]
    kinds = [kind for kind, _ in await told(world)]
    assert kinds.count("payout.paid") == 1


async def test_a_transfer_that_is_not_the_payouts_changes_nothing(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR)
    await freeze(pool, creator)
    await end(world, pool, creator)
    assert not await take_back(world, pool, 100, transfer_id="tr_other")
    assert not await take_back(world, pool, 100, to="acct_other")
    assert not await take_back(world, pool, 0)
    found = Transfer(id="tr_1", destination_id="acct_1", amount_cents=1, reversed_cents=1, metadata={})
    async with transaction(pool) as connection:
        assert not await follow_transfer(connection, uuid4(), found, now=DAY)
    assert await balances(world, creator) == {}


async def test_the_program_may_not_change_what_is_frozen(world: World, pool: Pool) -> None:
    creator = await make_creator(world, "acct_1")
    await owe(world, creator, 25 * DOLLAR, at=BEFORE)
    await freeze(pool, creator)
    for change in ("amount_cents = 99", "stripe_account_id = 'acct_2'", "period = '2026-01-01'"):
        with pytest.raises(StoreError, match="permission denied"):
            async with transaction(pool) as connection:
                await connection.execute(b"UPDATE payouts SET " + change.encode())
