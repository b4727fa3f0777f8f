"""Monthly billing against a Stripe that fails, and processes that die: everybody is billed once, to the micro.

BILLING_ACCOUNTS=1000 makes the long run of it; SEED=7 repeats one.
"""

import asyncio
import os
import random
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import cast

import msgspec
import psycopg
import pytest

from domain.model.outbox import Done, OutboxKind, OutboxRow
from domain.store.connection import Pool
from gateways.stripe.client import StripeGateway
from local.stripe.fake import FakeStripe
from scheduler.billing import go_on, start
from scheduler.outbox.kinds import KINDS
from scheduler.outbox.loop import LEASE, Outbox
from scheduler.outbox.steps import MoneyKind, Step
from tests.domain.world import World
from tests.scheduler.billed_many import (
    SECONDS_MAX,
    SEED,
    DyingPool,
    KilledError,
    break_things,
    check_books,
    customers_for,
    gateway_of,
    owe,
    own_pool,
    use,
)

ACCOUNTS = int(os.environ.get("BILLING_ACCOUNTS", "16"))
AUGUST, SEPTEMBER, OCTOBER, NOVEMBER = (date(2026, month, 1) for month in (8, 9, 10, 11))
NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)
POINTS = 20
KILLS_RATE = 0.08
# A step that failed five times waits an hour, which is thirteen rounds: some are that unlucky several times.
ROUNDS_MAX = 400 + ACCOUNTS


def killing(chance: random.Random, killed: list[str]) -> dict[OutboxKind, MoneyKind]:
    """The kinds as they are, in processes that die now and then before a step is sent, or behind it."""

    def dying(name: str, step: Step) -> Step:
        async def send(stripe: StripeGateway, row: OutboxRow) -> Done:
            if chance.random() < KILLS_RATE / 2:
                killed.append(f"before {name}")
                raise KilledError
            done = await step.send(stripe, row)
            if chance.random() < KILLS_RATE / 2:
                killed.append(f"behind {name}")
                raise KilledError
            return done

        return Step(send=send, look=step.look)

    invoice = KINDS[OutboxKind.INVOICE]
    steps = {name: dying(name, step) for name, step in invoice.steps.items()}
    return {OutboxKind.INVOICE: msgspec.structs.replace(invoice, steps=steps)}


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
                taken = await outbox.run_once(now)
                while taken:
                    taken = await outbox.run_once(now)
        ((pending,),) = await world.rows("SELECT count(*) FROM outbox WHERE status = 'pending'")
        if not pending and not looked:
            return now
        now += LEASE + timedelta(minutes=3)
    pytest.fail("it does not come to an end")


async def test_a_stripe_that_fails_and_processes_that_die_bill_everybody_once(
    world: World, pool: Pool, fake: FakeStripe
) -> None:
    chance = random.Random(SEED)
    customers = await customers_for(fake, ACCOUNTS)
    owed = await owe(world, customers, [SEPTEMBER, OCTOBER], chance)
    killed: list[str] = []
    break_things(fake)
    await start(pool, OCTOBER, NOW)
    now = await run_to_the_end(world, fake, NOW, killing(chance, killed))
    assert killed, "nobody died"
    assert await check_books(world, fake, owed) == ACCOUNTS
    # Another month: what was carried, what came late, and what is new.
    async with await psycopg.AsyncConnection.connect(world.database_url) as owner:
        for account_id in owed:
            for month in chance.sample([OCTOBER, NOVEMBER], chance.randint(1, 2)):
                owed[account_id] += await use(owner, world, account_id, month, chance)
    december = max(now, datetime(2026, 12, 1, 6, tzinfo=UTC))
    await start(pool, NOVEMBER, december)
    await run_to_the_end(world, fake, december, killing(chance, killed))
    assert await check_books(world, fake, owed) == 2 * ACCOUNTS


@pytest.mark.parametrize("when", ["before", "behind"])
async def test_killed_at_each_step_and_gone_on_with_after_stripe_forgot_the_keys(
    world: World, pool: Pool, fake: FakeStripe, when: str
) -> None:
    chance = random.Random(SEED)
    steps = ("draft", "item-0", "item-1", "check", "card", "finalize")
    customers = await customers_for(fake, len(steps))
    invoice = KINDS[OutboxKind.INVOICE]
    owed = {}
    now = NOW
    for step, customer in zip(steps, customers, strict=True):
        owed |= await owe(world, [customer], [SEPTEMBER, OCTOBER], chance, at_least=2)
        await start(pool, OCTOBER, now)
        await go_on(pool, now)
        dies = {OutboxKind.INVOICE: msgspec.structs.replace(invoice, steps=dying_at(invoice, step, when))}
        async with gateway_of(fake) as gateway:
            async with own_pool(world) as dying:
                with pytest.raises(BaseExceptionGroup):
                    await Outbox(dying, gateway, dies).run_once(now)
            fake.advance(int(timedelta(hours=25).total_seconds()))
            now += timedelta(hours=25)  # said here, not taken from the code that is tested
            # Forgotten by Stripe, and Stripe fails in the middle of the look as well.
            fake.fail("error", method="GET", calls=1)
            await Outbox(pool, gateway).run_once(now)
            now = await run_to_the_end(world, fake, now)
    assert await check_books(world, fake, owed) == len(steps)


def dying_at(kind: MoneyKind, at: str, when: str) -> dict[str, Step]:
    def dying(step: Step) -> Step:
        async def send(stripe: StripeGateway, row: OutboxRow) -> Done:
            if row.step == at and when == "before":
                raise KilledError
            done = await step.send(stripe, row)
            if row.step == at:
                raise KilledError
            return done

        return Step(send=send, look=step.look)

    return {name: dying(step) for name, step in kind.steps.items()}


async def test_started_three_times_at_once_and_killed_at_twenty_points(
    world: World, pool: Pool, fake: FakeStripe
) -> None:
    chance = random.Random(SEED)
    customers = await customers_for(fake, 2 * POINTS)
    owed = {}
    now = NOW
    died = 0
    for point in range(1, POINTS + 1):
        owed |= await owe(world, customers[2 * (point - 1) : 2 * point], [OCTOBER], chance)

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

        died += sum(await asyncio.gather(*(one_run(point + 2 * number, now) for number in range(3))))
        now = await run_to_the_end(world, fake, now + LEASE * 2)
        await start(pool, OCTOBER, now)
        now = await run_to_the_end(world, fake, now)
    assert died > 2 * POINTS
    assert await check_books(world, fake, owed) == 2 * POINTS
    assert await world.rows("SELECT count(*) FROM billing_runs") == [(1,)]
