"""Brokers on the run's Redis, with the platform's encoder, closed after each test."""

from collections.abc import Callable, Generator
from typing import Any
from uuid import UUID

import dramatiq
import msgspec
import pytest
from redis import Redis

from domain.model.limits import CastLimits
from domain.model.messages import CastJob, Outcome, UsageEvent
from tests.workers.broker.pools import lost_event
from workers.broker import MsgpackEncoder, StreamsBroker


@pytest.fixture
def client(redis_url: str) -> Generator[Redis]:
    with Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture(autouse=True)
def _encoder() -> Generator[None]:
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(MsgpackEncoder())
    yield
    dramatiq.set_encoder(before)


@pytest.fixture
def make_broker(redis_url: str) -> Generator[Callable[..., StreamsBroker]]:
    """Make brokers with the queue `default` declared and metered; each is one worker process to Redis."""
    made: list[StreamsBroker] = []

    def make(**options: Any) -> StreamsBroker:
        options.setdefault("metered", {"default": lost_event})
        options.setdefault("middleware", [])
        broker = StreamsBroker(redis_url, **options)
        broker.declare_queue("default")
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()


@pytest.fixture
def broker(make_broker: Callable[..., StreamsBroker]) -> StreamsBroker:
    return make_broker()


@pytest.fixture
def make_job() -> Callable[..., CastJob]:
    def make(number: int = 1, **fields: Any) -> CastJob:
        defaults = {
            "cast_id": UUID(int=number),
            "token": b"t" * 16,
            "digest": b"d" * 32,
            "limits": CastLimits(),
            "input": b"{}",
            "accepted_ms": 1_000,
            "deadline_ms": 901_000,
        }
        return CastJob(**{**defaults, **fields})

    return make


@pytest.fixture
def make_event() -> Callable[..., UsageEvent]:
    def make(number: int = 1, **fields: Any) -> UsageEvent:
        defaults = {"cast_id": UUID(int=number), "token": b"t" * 16, "outcome": Outcome.SUCCEEDED}
        return UsageEvent(**{**defaults, **fields})

    return make


@pytest.fixture
def encode() -> Callable[[object], bytes]:
    return msgspec.msgpack.encode
