"""Runs of monthly payouts as the scheduler makes them, and what it hears of creators' accounts, on the local Stripe."""

import logging
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.flow import stripe_inbox
from domain.model.plans import PlanPrices
from domain.model.stripe_events import StripeEvent
from domain.store import payout_accounts, payout_runs
from domain.store.connection import Pool, transaction
from domain.store.payout_runs import PayoutSummary
from local.stripe.fake import FakeStripe
from scheduler.inbox.flows import Shop
from scheduler.inbox.loop import Inbox
from scheduler.payouts import go_on, pay_out, start
from tests.domain.creators import BEFORE, DAY, DOLLAR, OCTOBER, balances, make_creator, owe
from tests.domain.world import World
from tests.scheduler.billed_many import clockwork_of, gateway_of, send
from tests.scheduler.paid_many import check_paid, creators_for


async def summary(pool: Pool, period: date = OCTOBER) -> PayoutSummary:
    async with transaction(pool) as connection:
        run = await payout_runs.run_get(connection, period)
        assert run is not None
        return await payout_runs.summary_read(connection, run)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "spell.payouts"]


async def test_the_clock_pays_out_the_month_that_is_over_once_its_day_has_come(
    world: World, pool: Pool, fake: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spell.payouts")
    clockwork = clockwork_of(pool)
    (creator,) = await creators_for(world, fake, 1)
    creator.old_micros = 25 * DOLLAR
    await owe(world, creator.id, creator.old_micros)
    fake.add_funds(100_00)
    assert "billing is off" in await pay_out(clockwork_of(pool, billing=False), DAY)
    await pay_out(clockwork, DAY - timedelta(seconds=1))
    assert await world.rows("SELECT count(*) FROM payout_runs") == [(0,)]
    await pay_out(clockwork, DAY)
    assert (await summary(pool)).pending == 1
    await send(pool, fake, DAY)
    await pay_out(clockwork, DAY + timedelta(seconds=5))
    await pay_out(clockwork, DAY + timedelta(days=14))
    (row,) = await check_paid(world, fake, [creator])
    assert lines_of(caplog) == [
        "Starting monthly payouts for 2026-10",
        "Found 1 creators who are owed something",
        f"Payout of $25.00 for creator {creator.id} has ended",
        "Monthly payouts completed: 1 successful ($25.00), 0 errors, 0 skipped",
    ]
    transfer = fake.object(str(row.stripe_transfer_id))
    assert (transfer["description"], transfer["amount"]) == ("Spell Platform payout - October 2026", 25_00)
    assert await world.rows("SELECT count(*) FROM payout_runs") == [(1,)]


async def test_who_is_skipped_is_told_of_and_paid_when_the_run_is_started_again(
    world: World, pool: Pool, fake: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    creators = await creators_for(world, fake, 1)
    fake.add_funds(100_00)
    nobody, poor = await make_creator(world), await make_creator(world, "acct_poor")
    for account_id, micros in ((creators[0].id, 25 * DOLLAR), (nobody, 30 * DOLLAR), (poor, DOLLAR)):
        await owe(world, account_id, micros)
    creators[0].old_micros = 25 * DOLLAR
    await start(pool, OCTOBER, DAY)
    await go_on(pool, DAY)
    await send(pool, fake, DAY)
    found = await summary(pool)
    assert (found.creators, found.successful, found.errors, found.skipped, found.pending) == (3, 1, 0, 2, 0)
    assert found.paid_cents == 25_00
    assert f"Skipped creator {nobody}: no_account" in caplog.text
    async with transaction(pool) as connection:
        run = await payout_runs.run_get(connection, OCTOBER)
        assert run is not None
        accounts = await payout_runs.accounts_of_run(connection, run, limit=10)
    assert [(one.outcome, one.payable_micros) for one in accounts] == [
        ("frozen", 25 * DOLLAR), ("no_account", 30 * DOLLAR), ("below_minimum", DOLLAR),
    ]  # fmt: skip
    # He is onboarded by now.
    async with gateway_of(fake) as gateway:
        connected = await gateway.accounts.create(account_id=str(nobody), country=None, key="k")
    fake.onboard(connected.id)
    await world.rows(
        "INSERT INTO payout_accounts (account_id, tried_at, stripe_account_id, details_submitted, transfers_active,"
        " created_at, updated_at) VALUES (%s, now(), %s, true, true, now(), now())",
        *(nobody, connected.id),
    )
    await start(pool, OCTOBER, DAY)
    await go_on(pool, DAY)
    await send(pool, fake, DAY)
    assert (await summary(pool)).paid_cents == 55_00
    assert await balances(world, nobody) == {}
    assert len(fake.objects("transfer")) == 2


async def test_one_creators_failure_stops_no_other(
    world: World, pool: Pool, fake: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    creators = await creators_for(world, fake, 3)
    fake.add_funds(500_00)
    for creator in creators:
        creator.old_micros = 25 * DOLLAR
        await owe(world, creator.id, creator.old_micros)
    broken = creators[1]
    # His row cannot be frozen.
    refusal = f"CHECK (stripe_account_id <> '{broken.stripe_account_id}')"
    await world.rows(f"ALTER TABLE payouts ADD CONSTRAINT no {refusal}")
    await start(pool, OCTOBER, DAY)
    await go_on(pool, DAY)
    await send(pool, fake, DAY)
    found = await summary(pool)
    assert (found.successful, found.errors, found.pending) == (2, 1, 0)
    assert f"Failed to pay creator {broken.id}" in caplog.text
    await world.rows("ALTER TABLE payouts DROP CONSTRAINT no")
    later = DAY + timedelta(minutes=2)
    await go_on(pool, later)
    await send(pool, fake, later)
    assert (await summary(pool)).successful == 3
    assert len(await check_paid(world, fake, creators)) == 3


async def tell(pool: Pool, fake: FakeStripe, **named: str | None) -> None:
    """Have the inbox hear of something, twice."""
    fields: dict[str, Any] = {"object_id": None, "customer_id": None, "connected_account_id": None, **named}
    async with gateway_of(fake) as gateway:
        shop = Shop(stripe=gateway, prices=PlanPrices(), grace=timedelta(0))
        inbox = Inbox(pool, shop)
        for _ in range(2):
            event_id = f"evt_{uuid4().hex}"
            async with transaction(pool) as connection:
                event = StripeEvent(**{**fields, "id": event_id, "made_at": BEFORE})
                await stripe_inbox.receive(connection, event, now=BEFORE)
            assert await inbox.run_once() == 1
    assert await parked(pool) == 0


async def parked(pool: Pool) -> int:
    async with transaction(pool) as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM stripe_events WHERE status <> 'applied'")
        row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def standing(pool: Pool, account_id: UUID) -> tuple[str, str | None]:
    async with transaction(pool) as connection:
        account = await payout_accounts.account_get(connection, account_id=account_id)
    assert account is not None
    return account.status, account.disabled_reason


async def test_what_stripe_tells_of_an_account_is_fetched_and_kept(world: World, pool: Pool, fake: FakeStripe) -> None:
    (creator,) = await creators_for(world, fake, 1)
    changed = {"type": "account.updated", "object_id": creator.stripe_account_id}
    named = {**changed, "connected_account_id": creator.stripe_account_id}
    fake.restrict(creator.stripe_account_id)
    await tell(pool, fake, **changed)
    assert await standing(pool, creator.id) == ("active", None), "that would be the platform's own account"
    await tell(pool, fake, **named)
    assert await standing(pool, creator.id) == ("disabled", "requirements.past_due")
    fake.onboard(creator.stripe_account_id)
    await tell(pool, fake, **named)
    assert await standing(pool, creator.id) == ("active", None)
    stranger = {**named, "object_id": "acct_x", "connected_account_id": "acct_x"}
    await tell(pool, fake, **stranger)
    entries = await world.rows("SELECT action FROM audit_log WHERE account_id = %s", creator.id)
    assert entries == [("payout_account.update",)] * 2
    await world.rows("UPDATE payout_accounts SET stripe_account_id = 'acct_gone' WHERE account_id = %s", creator.id)
    await tell(pool, fake, **{**named, "connected_account_id": "acct_gone"})
    assert await standing(pool, creator.id) == ("disabled", "gone")


async def test_what_is_taken_back_at_stripe_is_owed_again(world: World, pool: Pool, fake: FakeStripe) -> None:
    (creator,) = await creators_for(world, fake, 1)
    creator.old_micros = 25 * DOLLAR
    await owe(world, creator.id, creator.old_micros)
    fake.add_funds(100_00)
    await start(pool, OCTOBER, DAY)
    await go_on(pool, DAY)
    await send(pool, fake, DAY)
    (transfer,) = fake.objects("transfer")
    for cents in (700, None):
        fake.reverse(transfer["id"], cents=cents)
        await tell(pool, fake, type="transfer.reversed", object_id=transfer["id"])
        await check_paid(world, fake, [creator])
    assert await balances(world, creator.id) == {"payable": 25 * DOLLAR}
    subjects = await world.rows("SELECT payload::json ->> 'subject' FROM outgoing WHERE event_type = 'payout.reversed'")
    assert sorted(subjects) == [("$25.00 of a payout were taken back",), ("$7.00 of a payout were taken back",)]
    async with gateway_of(fake) as gateway:
        by_hand = await gateway.transfers.pay(
            creator.stripe_account_id, amount_cents=100, description="x", metadata={}, key="by hand"
        )
    fake.reverse(by_hand.id)
    await tell(pool, fake, type="transfer.reversed", object_id=by_hand.id)
    assert await balances(world, creator.id) == {"payable": 25 * DOLLAR}
