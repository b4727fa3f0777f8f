"""What the clock does for billing: ends graces, forgets old events of Stripe."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from domain.store.connection import Pool, Role, open_pool
from scheduler.jobs import STRIPE_EVENTS_KEPT, Clockwork, end_graces, trim_stripe_events
from tests.domain.paying import GRACE, NOW, follow, make_customer, subscription
from tests.domain.world import TOKEN_KEY, World, make_world
from workers.broker.async_link import open_redis

KEEP = (
    "INSERT INTO stripe_events (id, type, made_at, received_at, next_attempt_at, status, finished_at)"
    " VALUES (%s, 'x', now(), now(), now(), %s, %s)"
)


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=4) as opened:
        yield opened


@pytest.fixture
async def clockwork(pool: Pool, redis_url: str) -> AsyncGenerator[Clockwork]:
    async with open_redis(redis_url) as redis:
        yield Clockwork(pool=pool, slow_pool=pool, redis=redis, token_key=TOKEN_KEY)


async def test_a_grace_ends_on_time_and_once(world: World, pool: Pool, clockwork: Clockwork) -> None:
    await make_customer(world, pool)
    await follow(pool, world, subscription(world.account_id, "past_due"))
    metered = "SELECT subscription_active FROM accounts WHERE id = %s"
    assert await end_graces(clockwork, NOW + GRACE - timedelta(seconds=1)) == "0 graces over"
    assert await world.rows(metered, world.account_id) == [(True,)]
    assert await end_graces(clockwork, NOW + GRACE) == "1 graces over"
    assert await world.rows(metered, world.account_id) == [(False,)]
    assert await end_graces(clockwork, NOW + 2 * GRACE) == "0 graces over"


async def test_events_are_kept_as_long_as_stripe_may_send_them_again(world: World, clockwork: Clockwork) -> None:
    for name, status, age in (("old", "applied", 1), ("young", "applied", -1), ("parked", "parked", 1)):
        await world.rows(KEEP, name, status, NOW - STRIPE_EVENTS_KEPT - timedelta(seconds=age))
    assert await trim_stripe_events(clockwork, NOW) == "1 events of Stripe deleted"
    assert await world.rows("SELECT id FROM stripe_events ORDER BY id") == [("parked",), ("young",)]
    assert await trim_stripe_events(clockwork, NOW) == "0 events of Stripe deleted"
