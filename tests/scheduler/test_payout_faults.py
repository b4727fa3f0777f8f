"""Monthly payouts to a Stripe that fails, by processes that die: nobody is paid twice, and nobody more than is payable.

PAYOUT_CREATORS=200 makes the long run of it; SEED=7 repeats one.
"""

import asyncio
import os
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
import pytest

from domain.model.outbox import Done, OutboxKind, OutboxRow
from domain.store.connection import Pool, transaction
from gateways.stripe.client import StripeGateway
from local.stripe.fake import FakeStripe
from scheduler.inbox.flows import Asked, Shop
from scheduler.inbox.transfers import look
from scheduler.outbox.kinds import KINDS
from scheduler.outbox.loop import LEASE, Outbox
from scheduler.outbox.steps import MoneyKind, Step
from scheduler.payouts import go_on, start
from tests.domain.creators import BEFORE, DAY, DOLLAR, NOVEMBER, OCTOBER, owe
from tests.domain.world import World
from tests.scheduler.billed_many import SECONDS_MAX, SEED, DyingPool, KilledError, break_things, gateway_of, own_pool
from tests.scheduler.paid_many import Creator, check_paid, creators_for, expected, owe_some

CREATORS = int(os.environ.get("PAYOUT_CREATORS", "12"))
FRESH = DAY - timedelta(days=2)
POINTS = 12
KILLS_RATE = 0.16
# A step that failed five times waits an hour, which is thirteen rounds: some are that unlucky several times.
ROUNDS_MAX = 400 + CREATORS


def killing(chance: random.Random, killed: list[str]) -> dict[OutboxKind, MoneyKind]:
    """The kind as it is, in processes that die now and then before the transfer is sent, or behind it."""
    kind = KINDS[OutboxKind.PAYOUT]
    (step,) = kind.steps.values()

    async def send(stripe: StripeGateway, row: OutboxRow) -> Done:
        if chance.random() < KILLS_RATE / 2:
            killed.append("before")
            raise KilledError
        done = await step.send(stripe, row)
        if chance.random() < KILLS_RATE / 2:
            killed.append("behind")
            raise KilledError
        return done

    return {OutboxKind.PAYOUT: msgspec.structs.replace(kind, steps={"pay": Step(send=send, look=step.look)})}


def dying_at(when: str) -> dict[OutboxKind, MoneyKind]:
    kind = KINDS[OutboxKind.PAYOUT]
    (step,) = kind.steps.values()

    async def send(stripe: StripeGateway, row: OutboxRow) -> Done:
        if when == "behind":
            await step.send(stripe, row)
        raise KilledError

    return {OutboxKind.PAYOUT: msgspec.structs.replace(kind, steps={"pay": Step(send=send, look=step.look)})}


async def run_to_the_end(
    world: World, fake: FakeStripe, now: datetime, kinds: dict[OutboxKind, MoneyKind] | None = None
) -> datetime:
    """Let time pass, and processes come and go, until nothing is under way; return when that was."""
    for _ in range(ROUNDS_MAX):
        looked = 1
        async with gateway_of(fake, seconds_max=SECONDS_MAX) as gateway, own_pool(world) as pool:
            outbox = Outbox(pool, gateway, kinds or KINDS)
            with suppress(BaseExceptionGroup):
                looked = await go_on(pool, now)
                while await outbox.run_once(now):
                    pass
        ((pending,),) = await world.rows("SELECT count(*) FROM outbox WHERE status = 'pending'")
        if not pending and not looked:
            return now
        if await world.rows("SELECT 1 FROM outbox WHERE is_blocked AND status = 'pending'"):
            fake.add_funds(50_00 * CREATORS)  # the operator was told that there is too little
        now += LEASE + timedelta(minutes=3)
    pytest.fail("it does not come to an end")


async def follow(pool: Pool, fake: FakeStripe, transfer_id: str) -> None:
    """Apply what the inbox does when Stripe tells of a transfer, twice."""
    async with gateway_of(fake) as gateway:
        shop = Shop(stripe=gateway, prices=cast("object", None), grace=timedelta(0))  # pyright: ignore[reportArgumentType]  # prices are for subscriptions
        asked = Asked(subject_id=transfer_id, connected_account_id=None, types=frozenset(), asked_at=DAY)
        for _ in range(2):
            write = await look(shop, asked)
            async with transaction(pool) as connection:
                await write(connection)


async def test_a_stripe_that_fails_and_processes_that_die_pay_everybody_once(
    world: World, pool: Pool, fake: FakeStripe
) -> None:
    chance = random.Random(SEED)
    creators = await creators_for(world, fake, CREATORS)
    await owe_some(world, creators, chance, old=BEFORE, fresh=FRESH)
    restricted = set(chance.sample([creator.id for creator in creators], max(1, CREATORS // 20)))
    for creator in creators:
        if creator.id in restricted:
            fake.restrict(creator.stripe_account_id)  # and nobody here has heard of it yet
    killed: list[str] = []
    fake.add_funds(20_00 * CREATORS)
    break_things(fake)
    wanted = expected(creators)
    await start(pool, OCTOBER, DAY)
    now = await run_to_the_end(world, fake, DAY, killing(chance, killed))
    assert killed, "nobody died"
    rows = await check_paid(world, fake, creators)
    assert {row.account_id: row.amount_cents for row in rows} == wanted, "somebody got more than is payable, or less"
    assert {row.account_id for row in rows if row.status == "refused"} == restricted & {row.account_id for row in rows}
    # Another month: what came new, what was refused, what was left over, and what was taken back meanwhile.
    fake.heal()
    for row in chance.sample([row for row in rows if row.status == "paid"], 2):
        assert row.stripe_transfer_id is not None
        fake.reverse(row.stripe_transfer_id, cents=chance.randint(1, row.amount_cents))
        await follow(pool, fake, row.stripe_transfer_id)
    for creator in creators:
        fake.onboard(creator.stripe_account_id)
        creator.old_micros, creator.fresh_micros = creator.owed_micros, 0
    before = await check_paid(world, fake, creators)
    december = max(now, datetime(2026, 12, 15, tzinfo=UTC))
    await owe_some(world, creators, chance, old=BEFORE, fresh=december)
    wanted = expected(creators, before)
    break_things(fake)
    await start(pool, NOVEMBER, december)
    await run_to_the_end(world, fake, december, killing(chance, killed))
    after = await check_paid(world, fake, creators)
    new = {row.account_id: row.amount_cents for row in after if row.id not in {row.id for row in before}}
    assert new == wanted, "somebody got more than is payable, or less"


async def one_frozen(world: World, pool: Pool, fake: FakeStripe, *, funds_cents: int) -> Creator:
    """A creator whose payout of $25 is frozen; nobody has asked Stripe for it."""
    (creator,) = await creators_for(world, fake, 1)
    creator.old_micros = 25 * DOLLAR
    await owe(world, creator.id, creator.old_micros)
    fake.add_funds(funds_cents)
    await start(pool, OCTOBER, DAY)
    await go_on(pool, DAY)
    return creator


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("meanwhile", ["nothing", "restricted"])
async def test_killed_and_gone_on_with_after_stripe_forgot_the_key(
    world: World, pool: Pool, fake: FakeStripe, when: str, meanwhile: str
) -> None:
    """A transfer nobody heard of is found, also where the account could be paid no more since."""
    creator = await one_frozen(world, pool, fake, funds_cents=100_00)
    async with gateway_of(fake) as gateway:
        async with own_pool(world) as dying:
            with pytest.raises(BaseExceptionGroup):
                await Outbox(dying, gateway, dying_at(when)).run_once(DAY)
        fake.advance(int(timedelta(hours=25).total_seconds()))
        if meanwhile == "restricted":
            fake.restrict(creator.stripe_account_id)
        now = DAY + timedelta(hours=25)  # said here, not taken from the code that is tested
        # Forgotten by Stripe, and Stripe fails in the middle of the look as well.
        fake.fail("error", method="GET", calls=1)
        await Outbox(pool, gateway).run_once(now)
        await run_to_the_end(world, fake, now)
    (row,) = await check_paid(world, fake, [creator])
    assert row.status == ("refused" if (when, meanwhile) == ("before", "restricted") else "paid")


async def test_an_attempt_nobody_heard_of_is_looked_for_before_a_refusal_is_believed(
    world: World, pool: Pool, fake: FakeStripe
) -> None:
    """Under a key that is still good here and lost there, the account refuses what it has got already."""
    creator = await one_frozen(world, pool, fake, funds_cents=100_00)
    async with gateway_of(fake) as gateway:
        async with own_pool(world) as dying:
            with pytest.raises(BaseExceptionGroup):
                await Outbox(dying, gateway, dying_at("behind")).run_once(DAY)
        fake.advance(int(timedelta(hours=25).total_seconds()))
        fake.restrict(creator.stripe_account_id)
        await run_to_the_end(world, fake, DAY + LEASE * 2)
    (row,) = await check_paid(world, fake, [creator])
    assert row.status == "paid"


async def test_too_little_money_waits_and_is_told(
    world: World, pool: Pool, fake: FakeStripe, caplog: pytest.LogCaptureFixture
) -> None:
    creator = await one_frozen(world, pool, fake, funds_cents=24_99)
    async with gateway_of(fake) as gateway:
        outbox = Outbox(pool, gateway)
        await outbox.run_once(DAY)
        assert await world.rows("SELECT is_blocked, status FROM outbox") == [(True, "pending")]
        assert f"Failed to pay creator {creator.id}" in caplog.text
        assert await world.rows("SELECT status FROM payouts") == [("pending",)]
        fake.add_funds(1)
        await outbox.run_once(DAY + timedelta(minutes=30))
        assert fake.objects("transfer") == [], "Stripe would say what it has stored, so it is tried under the next key"
        await outbox.run_once(DAY + timedelta(hours=2))
    (row,) = await check_paid(world, fake, [creator])
    assert row.status == "paid"
    assert await world.rows("SELECT epoch FROM outbox") == [(1,)]


async def test_started_three_times_at_once_and_killed_at_every_point(
    world: World, pool: Pool, fake: FakeStripe
) -> None:
    chance = random.Random(SEED)
    creators: list[Creator] = []
    fake.add_funds(500_00 * POINTS)
    now, died = DAY, 0
    for point in range(1, POINTS + 1):
        fresh = await creators_for(world, fake, 2)
        for creator in fresh:
            creator.old_micros = chance.randint(10 * DOLLAR, 90 * DOLLAR)
            await owe(world, creator.id, creator.old_micros)
        creators += fresh

        async def one_run(dies_at: int, now: datetime) -> int:
            try:
                async with gateway_of(fake) as gateway, own_pool(world) as mine:
                    dying = cast("Pool", DyingPool(mine, dies_at))
                    await start(dying, OCTOBER, now)
                    await go_on(dying, now)
                    while await Outbox(dying, gateway).run_once(now):
                        pass
            except (KilledError, BaseExceptionGroup):
                return 1
            return 0

        died += sum(await asyncio.gather(*(one_run(2 * point + 2 * number, now) for number in range(3))))
        now = await run_to_the_end(world, fake, now + LEASE * 2)
        await start(pool, OCTOBER, now)
        now = await run_to_the_end(world, fake, now)
    assert died > POINTS
    rows = await check_paid(world, fake, creators)
    assert [row.status for row in rows] == ["paid"] * 2 * POINTS
    assert await world.rows("SELECT count(*) FROM payout_runs") == [(1,)]
    assert await world.rows("SELECT count(*) FROM payout_run_accounts WHERE outcome <> 'frozen'") == [(0,)]
