"""Credits by the clock: each job does what is due, twice no more, and an account at a time."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import msgspec
import pytest

from domain.flow.order_credits import record_checkout
from domain.store.connection import Pool, Role, open_pool, transaction
from scheduler import credits as credit_jobs
from scheduler import jobs
from scheduler.jobs import Clockwork
from tests.domain.credit_books import NOW, apply, broken_credits, give, grants, order, paid
from tests.domain.flow.test_credits import consume
from tests.domain.flow.test_top_up import CARD, keep_card, set_top_up
from tests.domain.world import TOKEN_KEY, World, make_world
from workers.broker.async_link import open_redis

LATER = NOW + timedelta(days=1)
EVENTS = "SELECT id, type, object_id, status FROM stripe_events ORDER BY id"


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def clockwork(database_url: str, redis_url: str) -> AsyncGenerator[Clockwork]:
    async with (
        open_redis(redis_url) as redis,
        open_pool(database_url, role=Role.ENGINE, size_max=4) as pool,
    ):
        yield Clockwork(pool=pool, slow_pool=pool, redis=redis, token_key=TOKEN_KEY, billing=True)


@pytest.fixture
def pool(clockwork: Clockwork) -> Pool:
    return clockwork.pool


async def test_what_expired_is_taken_of_every_account(
    world: World, clockwork: Clockwork, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credit_jobs, "ACCOUNTS_AT_ONCE_MAX", 2)
    worlds = [world, *[await make_world(world.database_url) for _ in range(4)]]
    for one in worlds:
        await give(one, pool, 100, expires_at=LATER)
        await give(one, pool, 5)
    assert await credit_jobs.expire(clockwork, NOW) == "0 micros of credits expired"
    assert await credit_jobs.expire(clockwork, LATER) == "500 micros of credits expired"
    assert await credit_jobs.expire(clockwork, LATER) == "0 micros of credits expired"
    assert [await grants(one) for one in worlds] == [[(0, 0), (5, 0)]] * 5
    assert await broken_credits(world.database_url) == {}


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE credit_grants SET balance_micros = balance_micros - 1",
        (
            "INSERT INTO credit_transactions (account_id, number, kind, amount_micros, balance_before_micros,"
            " balance_after_micros, created_at) SELECT id, 9, 'grant', 1, 0, 1, now() FROM accounts LIMIT 1"
        ),
        "UPDATE ledger_transfers SET amount_micros = amount_micros + 1 WHERE kind = 'credit_grant'",
    ],
)
async def test_a_difference_between_grants_history_and_ledger_is_reported(
    world: World, clockwork: Clockwork, pool: Pool, fault: str
) -> None:
    await give(world, pool, 100)
    await consume(world, pool, 30)
    assert await jobs.reconcile(clockwork, NOW) == "balanced"
    await world.rows(fault)
    assert await jobs.reconcile(clockwork, NOW) == "1 rows differ"


async def test_top_ups_that_are_due_are_begun_once(
    world: World, clockwork: Clockwork, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credit_jobs, "ACCOUNTS_AT_ONCE_MAX", 2)
    worlds = [world, *[await make_world(world.database_url) for _ in range(4)]]
    for number, one in enumerate(worlds):
        order_id = await order(one, pool)
        card = {**CARD, "payment_id": f"pi_{number}"}
        await apply(pool, order_id, msgspec.structs.replace(paid(), **card))
        await consume(one, pool, 10_000_000)
        await set_top_up(one, pool)
    assert await credit_jobs.top_up(clockwork, NOW) == "5 top-ups begun"
    assert await credit_jobs.top_up(clockwork, NOW) == "0 top-ups begun"
    assert await world.rows("SELECT count(*) FROM outbox WHERE kind = 'topup'") == [(5,)]


async def test_without_keys_of_stripe_nothing_is_topped_up(world: World, clockwork: Clockwork, pool: Pool) -> None:
    await keep_card(world, pool)
    await set_top_up(world, pool)
    off = Clockwork(pool=pool, slow_pool=pool, redis=clockwork.redis, token_key=TOKEN_KEY)
    assert await credit_jobs.top_up(off, NOW) == "billing is off"
    assert await world.rows("SELECT count(*) FROM outbox") == [(0,)]


async def test_orders_of_which_nothing_was_heard_are_looked_at_once_a_day(
    world: World, clockwork: Clockwork, pool: Pool
) -> None:
    unopened, opened, bought = [await order(world, pool) for _ in range(3)]
    for order_id in (opened, bought):
        async with transaction(pool) as connection:
            await record_checkout(
                connection, account_id=world.account_id, order_id=order_id, session=f"cs_{order_id}", checkout_url="x"
            )
    await apply(pool, bought, paid())
    [(made_at,)] = await world.rows("SELECT max(created_at) FROM credit_orders")
    assert await credit_jobs.look_at_orders(clockwork, made_at + timedelta(hours=24)) == "0 orders wait for news"
    late = made_at + timedelta(hours=26)
    assert await credit_jobs.look_at_orders(clockwork, late) == "2 orders wait for news"
    event = (f"look_{opened.hex}_{late:%Y%m%d}", "checkout.session.expired", f"cs_{opened}", "pending")
    assert await world.rows(EVENTS) == [event]
    assert await credit_jobs.look_at_orders(clockwork, late) == "1 orders wait for news"
    assert await world.rows(EVENTS) == [event]
    await credit_jobs.look_at_orders(clockwork, late + timedelta(days=1))
    assert len(await world.rows(EVENTS)) == 2
    status = await world.rows("SELECT status FROM credit_orders WHERE id = %s", unopened)
    assert status == [("expired",)]
