"""Shares of creators by the clock: whatever is due is moved once, a grant at a time, and who is busy comes later."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from domain.flow.settle import settle
from domain.model.earnings import COLLECTED_AFTER
from domain.store.connection import Pool, Role, open_pool, transaction
from scheduler import earnings as earning_jobs
from scheduler.jobs import Clockwork
from tests.domain.admitted import accept
from tests.domain.credit_books import give
from tests.domain.events import event_of
from tests.domain.share_books import broken_shares, places
from tests.domain.world import TOKEN_KEY, World, make_world
from workers.broker.async_link import open_redis

SHARE = 400


@pytest.fixture
async def clockwork(database_url: str, redis_url: str) -> AsyncGenerator[Clockwork]:
    async with (
        open_redis(redis_url) as redis,
        open_pool(database_url, role=Role.ENGINE, size_max=4) as pool,
    ):
        yield Clockwork(pool=pool, slow_pool=pool, redis=redis, token_key=TOKEN_KEY)


async def cast(world: World, pool: Pool) -> None:
    jobs = await accept(world, pool, world.spec(creator_price_micros=500))
    async with transaction(pool) as connection:
        await settle(connection, [event_of(job) for job in jobs], batch_id=uuid4(), token_key=TOKEN_KEY)


async def test_what_is_due_is_moved_once_and_who_is_busy_comes_later(
    database_url: str, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(earning_jobs, "GRANTS_AT_ONCE_MAX", 2)
    worlds = [await make_world(database_url) for _ in range(5)]
    for world in worlds:
        await give(world, clockwork.pool, 1_000_000)
        await cast(world, clockwork.pool)
    now = datetime.now(UTC)
    assert await earning_jobs.collect(clockwork, now) == "0 transfers of shares, 0 accounts busy"
    later = now + COLLECTED_AFTER
    # By a session without the limits of ours: on a busy machine it would be ended before its time.
    async with await psycopg.AsyncConnection.connect(database_url) as holder:
        await holder.execute("SELECT FROM accounts WHERE id = %s FOR NO KEY UPDATE", (worlds[0].account_id,))
        assert await earning_jobs.collect(clockwork, later) == "4 transfers of shares, 1 accounts busy"
    assert await earning_jobs.collect(clockwork, later) == "1 transfers of shares, 0 accounts busy"
    assert await earning_jobs.collect(clockwork, later) == "0 transfers of shares, 0 accounts busy"
    assert await places(worlds[0]) == {(world.creator_id, "payable"): SHARE for world in worlds}
    await cast(worlds[0], clockwork.pool)
    assert await earning_jobs.collect(clockwork, later) == "0 transfers of shares, 0 accounts busy"
    assert await earning_jobs.collect(clockwork, later + timedelta(days=1)) == "1 transfers of shares, 0 accounts busy"
    assert await broken_shares(worlds[0]) == {}
