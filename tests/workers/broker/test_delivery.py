import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dramatiq
import pytest
from dramatiq.errors import ConnectionClosed
from redis import Redis

from domain.model.messages import MESSAGE_VERSION, CastJob, UsageEvent
from tests.workers.broker.pools import add_jobs, consume, lost_event, pending_count, start, take, usage_events
from workers import keys
from workers.broker import StreamsBroker
from workers.broker.entries import StreamMessage
from workers.broker.wire import encode_message

Jobs = Callable[..., CastJob]
Events = Callable[..., UsageEvent]
Brokers = Callable[..., StreamsBroker]
HOLDER = Path(__file__).with_name("holder.py")
NEVER_MS = 3_600_000


def owners(client: Redis) -> dict[bytes, int]:
    """Return how many pending entries each consumer owns."""
    summary = client.xpending(keys.jobs("default"), keys.jobs_group())
    return {row["name"]: row["pending"] for row in summary["consumers"]}


def test_declaring_and_consuming_do_no_io() -> None:
    broker = StreamsBroker("redis://127.0.0.1:1/0", middleware=[])
    broker.declare_queue("default")
    broker.declare_queue("default")
    assert broker.get_declared_queues() == {"default"}
    assert broker.consume("default").__class__.__name__ == "StreamsConsumer"
    broker.close()


def test_next_is_none_within_the_timeout(broker: StreamsBroker) -> None:
    consumer = consume(broker)
    began = time.monotonic()
    assert next(consumer) is None
    assert next(consumer) is None
    assert time.monotonic() - began < 5


def test_what_was_added_before_the_group_is_delivered(broker: StreamsBroker, client: Redis, make_job: Jobs) -> None:
    add_jobs(client, [make_job(1)])
    assert [message.message_id for message in take(consume(broker), 1)] == [str(make_job(1).cast_id)]


def test_work_goes_on_after_flushall(broker: StreamsBroker, client: Redis, make_job: Jobs) -> None:
    consumer = consume(broker)
    add_jobs(client, [make_job(1)])
    [running] = take(consumer, 1)
    start(broker, running)
    client.flushall()
    add_jobs(client, [make_job(2)])
    [after] = take(consumer, 1)
    assert after.message_id == str(make_job(2).cast_id)
    consumer.ack(running)
    consumer.ack(after)
    assert broker.flush_acknowledgements()
    assert {event.cast_id.int for event in usage_events(client)} == {1, 2}
    assert client.xlen(keys.jobs("default")) == 0


def test_an_id_that_comes_again_after_flushall_is_another_entry(
    broker: StreamsBroker, client: Redis, make_job: Jobs
) -> None:
    consumer = consume(broker)
    taken: list[StreamMessage] = []
    for number in (1, 2):
        client.flushall()
        client.xadd(keys.jobs("default"), {"m": encode_message("default", make_job(number))}, id="5-0")
        taken += take(consumer, 1)
    old, new = taken
    consumer.ack(old)
    assert broker.flush_acknowledgements()
    assert pending_count(client) == 1, "The old entry's end acknowledged the new one."
    consumer.ack(new)
    assert broker.flush_acknowledgements()
    assert [event.cast_id.int for event in usage_events(client)] == [1, 2]


def test_a_job_of_a_newer_version_is_left_for_a_newer_worker(
    broker: StreamsBroker, client: Redis, make_job: Jobs
) -> None:
    add_jobs(client, [make_job(1, v=MESSAGE_VERSION + 1), make_job(2)])
    consumer = consume(broker)
    assert [message.message_id for message in take(consumer, 1)] == [str(make_job(2).cast_id)]
    assert next(consumer) is None
    assert len(broker.queues["default"].held) == 1
    assert pending_count(client) == 2
    assert usage_events(client) == []


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_read_claim_and_end(client: Redis, redis_url: str, make_job: Jobs, protocol: int) -> None:
    add_jobs(client, (make_job(number) for number in range(3)))
    client.xgroup_create(keys.jobs("default"), keys.jobs_group(), "0")
    client.xreadgroup(keys.jobs_group(), "dead", {keys.jobs("default"): ">"}, count=1)
    url = f"{redis_url}?protocol={protocol}"
    broker = StreamsBroker(url, middleware=[], metered={"default": lost_event}, claim_idle_ms=1)
    broker.declare_queue("default")
    consumer = consume(broker)
    for message in take(consumer, 3):
        start(broker, message)
        consumer.ack(message)
    assert broker.flush_acknowledgements()
    broker.close()
    assert {event.cast_id.int for event in usage_events(client)} == {0, 1, 2}
    assert client.xlen(keys.jobs("default")) == 0


def test_suspects_stay_suspects_when_a_consumer_ends_in_silence(
    make_broker: Brokers, client: Redis, make_job: Jobs
) -> None:
    broker = make_broker()
    add_jobs(client, [make_job(1)])
    consumer = consume(broker)
    [message] = take(consumer, 1)
    message.entry.suspect = True
    broker.queues["default"].carried.append(message)
    consume(broker)
    assert broker.suspects.busy()


def test_trouble_with_the_connection_is_connection_closed() -> None:
    broker = StreamsBroker("redis://127.0.0.1:1/0", middleware=[])
    broker.declare_queue("default")
    consumer = broker.consume("default", timeout=50)
    with pytest.raises(ConnectionClosed):
        next(consumer)
    with pytest.raises(ConnectionClosed):
        broker.enqueue(dramatiq.Message("default", "note", (), {}, {}))
    with pytest.raises(ConnectionClosed):
        broker.enqueue(dramatiq.Message("default", "note", (), {}, {}), delay=5)
    broker.close()


def test_never_more_than_prefetch_unacknowledged(broker: StreamsBroker, client: Redis, make_job: Jobs) -> None:
    add_jobs(client, (make_job(number) for number in range(20)))
    consumer = consume(broker, prefetch=3)
    held = take(consumer, 3)
    assert [next(consumer) for _ in range(3)] == [None] * 3
    assert pending_count(client) == 3
    consumer.ack(held[0])
    take(consumer, 1)
    assert next(consumer) is None
    assert pending_count(client) == 3


def test_requeued_at_shutdown_is_visible_at_once(make_broker: Brokers, client: Redis, make_job: Jobs) -> None:
    leaving, staying = make_broker(claim_idle_ms=NEVER_MS), make_broker(claim_idle_ms=NEVER_MS)
    add_jobs(client, (make_job(number) for number in range(8)))
    consumer = consume(leaving)
    handed_on = take(consumer, 3)
    assert owners(client) == {leaving.consumer_name.encode(): 8}
    consumer.requeue(handed_on)
    consumer.close()
    assert pending_count(client) == 0
    taken = take(consume(staying), 8)
    assert {int(message.message_id.replace("-", ""), 16) for message in taken} == set(range(8))
    assert client.xlen(keys.jobs("default")) == 8


def test_requeue_leaves_what_another_took_over(make_broker: Brokers, client: Redis, make_job: Jobs) -> None:
    paused = make_broker(heartbeat_ms=NEVER_MS, claim_idle_ms=NEVER_MS)
    other = make_broker(heartbeat_ms=NEVER_MS, claim_idle_ms=1)
    add_jobs(client, [make_job(1)])
    consumer = consume(paused)
    [message] = take(consumer, 1)
    take(consume(other), 1)
    consumer.requeue([message])
    assert client.xlen(keys.jobs("default")) == 1
    assert owners(client) == {other.consumer_name.encode(): 1}


def test_paused_worker_neither_steals_back_nor_starts(make_broker: Brokers, client: Redis, make_job: Jobs) -> None:
    paused = make_broker(heartbeat_ms=NEVER_MS, claim_idle_ms=NEVER_MS)
    other = make_broker(heartbeat_ms=NEVER_MS, claim_idle_ms=1)
    add_jobs(client, [make_job(1), make_job(2)])
    consumer = consume(paused)
    [message, *_] = take(consumer, 2)
    take(consume(other), 2)
    assert owners(client) == {other.consumer_name.encode(): 2}
    paused._beat.beat_once(NEVER_MS)
    assert owners(client) == {other.consumer_name.encode(): 2}, "The heartbeat stole entries back."
    with pytest.raises(dramatiq.middleware.SkipMessage):
        start(paused, message)
    paused.emit_after("skip_message", message)
    consumer.ack(message)
    assert paused.flush_acknowledgements()
    assert owners(client) == {other.consumer_name.encode(): 2}
    assert usage_events(client) == []


def test_heartbeat_keeps_what_is_held_and_buffered(make_broker: Brokers, client: Redis, make_job: Jobs) -> None:
    working, greedy = make_broker(heartbeat_ms=20, claim_idle_ms=1_500), make_broker(claim_idle_ms=1_500)
    add_jobs(client, (make_job(number) for number in range(4)))
    take(consume(working), 1)
    other = consume(greedy)
    until_s = time.monotonic() + 3.5
    while time.monotonic() < until_s:
        assert next(other) is None, "An entry of a living worker was taken over."
    assert owners(client) == {working.consumer_name.encode(): 4}


def test_killed_worker_is_replaced_by_another(
    make_broker: Brokers, client: Redis, redis_url: str, make_job: Jobs
) -> None:
    add_jobs(client, (make_job(number) for number in range(4)))
    holder = subprocess.Popen([sys.executable, str(HOLDER), redis_url], stdout=subprocess.PIPE, cwd=Path.cwd())
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"holding\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert pending_count(client) == 4
    broker = make_broker(claim_idle_ms=200)
    consumer = consume(broker)
    for message in take(consumer, 4):
        consumer.ack(message)
    assert broker.flush_acknowledgements()
    assert {event.cast_id.int for event in usage_events(client)} == {0, 1, 2, 3}
    assert client.xlen(keys.jobs("default")) == 0


def test_reading_stops_while_the_ledger_is_behind(make_broker: Brokers, client: Redis, make_job: Jobs) -> None:
    broker = make_broker(usage_length_max=1)
    add_jobs(client, [make_job(1)])
    client.xadd(keys.usage("default"), {"e": b"1"})
    client.xadd(keys.usage("default"), {"e": b"2"})
    consumer = consume(broker)
    assert [next(consumer) for _ in range(3)] == [None] * 3
    client.xtrim(keys.usage("default"), maxlen=1, approximate=False)
    assert len(take(consumer, 1)) == 1


def test_deleted_entries_do_not_stay_pending(broker: StreamsBroker, client: Redis, make_job: Jobs) -> None:
    add_jobs(client, [make_job(1)])
    consume(broker)
    broker.make_group(broker.queues["default"])
    [[_, [[entry_id, _]]]] = client.execute_command(
        "XREADGROUP", "GROUP", keys.jobs_group(), "gone", "STREAMS", keys.jobs("default"), ">"
    )
    client.xdel(keys.jobs("default"), entry_id)
    broker.claim_idle_ms = 0
    assert broker.claim(broker.queues["default"], [entry_id]) == []
    assert pending_count(client) == 0
