"""What the tests of the broker share: casts on a stream, and what Redis says became of them."""

import time
from collections.abc import Callable, Iterable
from itertools import chain
from uuid import UUID

import msgspec
from dramatiq import Message
from redis import Redis

from domain.model.messages import CastJob, Outcome, UsageEvent
from workers import keys
from workers.broker import StreamsBroker
from workers.broker.bundle import unbundled
from workers.broker.consumer import StreamsConsumer
from workers.broker.entries import StreamMessage
from workers.broker.wire import encode_message

WAIT_S = 120.0


def lost_event(message: Message[object], reason: str) -> bytes:
    """Make the event of a cast that ended without a report, with the reason where a test can see it."""
    event = UsageEvent(
        cast_id=UUID(message.message_id), token=b"t" * 16, outcome=Outcome.PLATFORM_ERROR, message=reason
    )
    return msgspec.msgpack.encode(event)


def add_jobs(client: Redis, jobs: Iterable[CastJob], pool: str = "default") -> None:
    """Add casts to a pool's stream, as `put` does."""
    for job in jobs:
        client.xadd(keys.jobs(pool), {"m": encode_message(pool, job)})


def usage_events(client: Redis, pool: str = "default") -> list[UsageEvent]:
    """Return all events on the usage stream."""
    bodies = chain.from_iterable(unbundled(fields) for _, fields in client.xrange(keys.usage(pool)))
    return [msgspec.msgpack.decode(body, type=UsageEvent) for body in bodies]


def dead_reasons(client: Redis, pool: str = "default") -> list[bytes]:
    """Return why each dead letter is one."""
    return [fields[b"r"] for _, fields in client.xrange(keys.dead(pool))]


def pending_count(client: Redis, pool: str = "default") -> int:
    """Return how many entries are delivered and not acknowledged."""
    return client.xpending(keys.jobs(pool), keys.jobs_group())["pending"]


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that must become true; fail with its name when it does not."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, f"Waited {WAIT_S} s in vain until {what}."
        time.sleep(0.005)


def take(consumer: StreamsConsumer, count: int) -> list[StreamMessage]:
    """Return the next `count` messages of a consumer."""
    taken: list[StreamMessage] = []
    deadline = time.monotonic() + WAIT_S
    while len(taken) < count:
        assert time.monotonic() < deadline, f"Only {len(taken)} of {count} messages came within {WAIT_S} s."
        message = next(consumer)
        if message is not None:
            taken.append(message)
    return taken


def start(broker: StreamsBroker, message: StreamMessage) -> None:
    """Do what a worker thread does just before it runs a message."""
    broker.emit_before("process_message", message)


def consume(broker: StreamsBroker, prefetch: int = 16) -> StreamsConsumer:
    """Return a consumer of the pool `default` that waits shortly."""
    return broker.consume("default", prefetch=prefetch, timeout=50)
