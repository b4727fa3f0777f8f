from collections.abc import Callable

import dramatiq
from redis import Redis

from domain.model.messages import CastJob
from tests.workers.broker.pools import (
    add_jobs,
    consume,
    dead_reasons,
    pending_count,
    start,
    take,
    until,
    usage_events,
)
from workers import keys
from workers.broker import StreamsBroker

Jobs = Callable[..., CastJob]
Brokers = Callable[..., StreamsBroker]
NEVER_MS = 3_600_000


def deliver(client: Redis, count: int, times: int) -> None:
    """Deliver the first entries `times` times to workers that died before they ran any."""
    group = keys.jobs_group()
    stream = keys.jobs("default")
    client.xgroup_create(stream, group, "0", mkstream=True)
    client.execute_command("XREADGROUP", "GROUP", group, "dead", "COUNT", count, "STREAMS", stream, ">")
    ids = [entry_id for entry_id, _ in client.xrange(stream, count=count)]
    for _ in range(times - 1):
        client.execute_command("XCLAIM", stream, group, "dead", 0, *ids)


def test_prefetched_entries_of_a_worker_killed_thrice_are_not_poison(
    make_broker: Brokers, client: Redis, make_job: Jobs
) -> None:
    add_jobs(client, (make_job(number) for number in range(20)))
    deliver(client, 20, 3)
    broker = make_broker(claim_idle_ms=1)
    consumer = consume(broker)
    ran: list[str] = []

    @dramatiq.actor(actor_name="cast", broker=broker)
    def cast(job: bytes) -> None:
        assert job

    while len(ran) < 20:
        [message] = take(consumer, 1)
        start(broker, message)
        assert pending_count(client) - len(ran) <= 20
        assert list(broker.queues["default"].held) == [message.entry.entry_id], "A suspect was not alone."
        ran.append(message.message_id)
        consumer.ack(message)
        assert broker.flush_acknowledgements()
    assert len(set(ran)) == 20
    assert dead_reasons(client) == []
    assert client.exists(keys.starts("default")) == 0
    assert cast.actor_name == "cast"


def test_the_abandoned_come_before_anything_new(make_broker: Brokers, client: Redis, make_job: Jobs) -> None:
    add_jobs(client, (make_job(number) for number in range(20)))
    deliver(client, 20, 1)
    add_jobs(client, (make_job(number) for number in range(20, 60)))
    broker = make_broker(claim_idle_ms=1)
    consumer = consume(broker, prefetch=4)
    order: list[int] = []
    while len(order) < 60:
        [message] = take(consumer, 1)
        order.append(message.entry.cast_id().int)
        consumer.ack(message)
    assert order == list(range(60))


def test_what_kills_every_worker_is_poison_after_four_attempts(
    make_broker: Brokers, client: Redis, make_job: Jobs
) -> None:
    add_jobs(client, [make_job(1)])
    attempts = 0
    for _ in range(6):
        victim = make_broker(heartbeat_ms=NEVER_MS, claim_idle_ms=1)
        consumer = consume(victim)
        message = next(consumer)
        while message is None and client.xlen(keys.jobs("default")):
            message = next(consumer)
        if message is None:
            break
        start(victim, message)
        attempts += 1  # and here it dies: no acknowledgement, no heartbeat
    assert attempts == 4
    until(lambda: client.xlen(keys.jobs("default")) == 0, "the poison is buried")
    assert dead_reasons(client) == [b"poison"]
    assert [event.message for event in usage_events(client)] == ["poison"]
    assert pending_count(client) == 0
    assert client.exists(keys.starts("default")) == 0


def test_suspect_waits_until_the_process_holds_nothing_else(
    make_broker: Brokers, client: Redis, make_job: Jobs
) -> None:
    add_jobs(client, [make_job(1)])
    deliver(client, 1, 3)
    add_jobs(client, [make_job(2), make_job(3)])
    broker = make_broker(claim_idle_ms=NEVER_MS)
    consumer = consume(broker)
    [two, three] = take(consumer, 2)
    broker.claim_idle_ms = 1
    consumer._claim_at = 0.0
    assert [next(consumer) for _ in range(4)] == [None] * 4
    assert len(broker.queues["default"].held) == 3
    consumer.ack(two)
    consumer.ack(three)
    add_jobs(client, [make_job(4)])
    [suspect] = take(consumer, 1)
    assert suspect.message_id == str(make_job(1).cast_id)
    start(broker, suspect)
    assert [next(consumer) for _ in range(3)] == [None] * 3, "Something was read beside a running suspect."
    consumer.ack(suspect)
    assert take(consumer, 1)[0].message_id == str(make_job(4).cast_id)


def test_requeue_does_not_clear_a_suspect(make_broker: Brokers, client: Redis, make_job: Jobs) -> None:
    add_jobs(client, [make_job(1)])
    deliver(client, 1, 3)
    broker = make_broker(claim_idle_ms=1)
    consumer = consume(broker)
    [message] = take(consumer, 1)
    start(broker, message)
    consumer.requeue([message])
    [again] = take(consumer, 1)
    assert again.entry.suspect
    assert client.hvals(keys.starts("default")) == [b"1"]
