import asyncio
from collections.abc import Callable
from uuid import UUID

import dramatiq
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from domain.model.messages import CastJob
from tests.workers.broker.pools import add_jobs, consume, start, take, until, usage_events
from workers.broker import StreamsBroker, wire

Jobs = Callable[..., CastJob]
Brokers = Callable[..., StreamsBroker]


def cancel(redis_url: str, number: int) -> None:
    """Ask for the cancel of one cast, as the api does."""

    async def ask() -> None:
        async with AsyncRedis.from_url(redis_url) as redis:
            await wire.request_cancel(redis, "default", [UUID(int=number)])

    asyncio.run(ask())


def test_queued_cast_that_is_canceled_is_skipped_with_its_event(
    broker: StreamsBroker, client: Redis, redis_url: str, make_job: Jobs
) -> None:
    add_jobs(client, [make_job(1), make_job(2)])
    cancel(redis_url, 1)
    consumer = consume(broker)
    one, two = take(consumer, 2)
    with pytest.raises(dramatiq.middleware.SkipMessage):
        start(broker, one)
    broker.emit_after("skip_message", one)
    start(broker, two)
    consumer.ack(one)
    assert broker.flush_acknowledgements()
    assert [(event.cast_id.int, event.message) for event in usage_events(client)] == [(1, "canceled")]


def test_running_cast_that_is_canceled_is_told_once(
    make_broker: Brokers, client: Redis, redis_url: str, make_job: Jobs
) -> None:
    told: list[UUID] = []
    broker = make_broker(on_cancel=told.append, heartbeat_ms=20)
    add_jobs(client, [make_job(1), make_job(2)])
    consumer = consume(broker)
    for message in take(consumer, 2):
        start(broker, message)
    cancel(redis_url, 2)
    until(lambda: told, "the heartbeat has asked")
    broker.ask_canceled(broker.queues["default"])
    assert told == [UUID(int=2)]


def test_living_workers_are_known_until_they_leave(make_broker: Brokers, redis_url: str) -> None:
    broker = make_broker(facts=lambda: b"slots=2", heartbeat_ms=20)
    consume(broker)

    def alive() -> dict[str, bytes]:
        async def ask() -> dict[str, bytes]:
            async with AsyncRedis.from_url(redis_url) as redis:
                return await wire.workers_alive(redis, "default")

        return asyncio.run(ask())

    until(lambda: alive() == {broker.consumer_name: b"slots=2"}, "the worker has said that it lives")
    broker.close()
    assert alive() == {}
