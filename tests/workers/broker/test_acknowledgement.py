from collections.abc import Callable

import dramatiq
import msgspec
import pytest
from dramatiq.broker import MessageProxy
from dramatiq.errors import ConnectionClosed
from redis import Redis

from domain.model.messages import CastJob, UsageEvent
from tests.workers.broker.pools import add_jobs, consume, dead_reasons, pending_count, take, until, usage_events
from workers import keys
from workers.broker import StreamsBroker, flusher

Jobs = Callable[..., CastJob]
Events = Callable[..., UsageEvent]
Encode = Callable[[object], bytes]


def run(broker: StreamsBroker, client: Redis) -> None:
    """Work until the stream of the pool is empty."""
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=50)
    worker.start()
    until(lambda: client.xlen(keys.jobs("default")) == 0, "every job has ended")
    worker.stop()


def test_event_output_and_acknowledgement_are_one_transaction(
    broker: StreamsBroker, client: Redis, make_job: Jobs, make_event: Events, encode: Encode
) -> None:
    add_jobs(client, [make_job(1)])
    client.set(keys.input_beside("default", make_job(1).cast_id), b"long input")
    consumer = consume(broker)
    [message] = take(consumer, 1)
    assert broker.load_input(message) == b"long input"
    broker.report(message, encode(make_event(1, output_beside=True)), b"long output")
    with client.monitor() as monitor:
        commands = (line["command"].split()[0] for line in monitor.listen())
        consumer.ack(message)
        seen: list[str] = []
        for command in commands:
            if command == "MULTI" or seen:
                seen.append(command)
            if command == "EXEC":
                break
    assert seen == ["MULTI", "SET", "XADD", "XACK", "XDEL", "UNLINK", "EXEC"]
    until(lambda: not broker.queues["default"].held, "the flush is confirmed")
    assert usage_events(client) == [make_event(1, output_beside=True)]
    assert client.get(keys.output_beside("default", make_job(1).cast_id)) == b"long output"
    assert client.exists(keys.input_beside("default", make_job(1).cast_id)) == 0
    assert client.xlen(keys.jobs("default")) == 0
    assert pending_count(client) == 0


def test_connections_dropped_all_the_time_lose_no_event(
    broker: StreamsBroker, client: Redis, make_job: Jobs, make_event: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, drops = 3_000, 20
    # Dramatiq waits three seconds before it makes another consumer, longer than the next drop takes.
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.01)

    @dramatiq.actor(actor_name="cast", broker=broker)
    def cast(job: bytes) -> None:
        assert job

    class Report(dramatiq.Middleware):
        def after_process_message(
            self, broker: dramatiq.Broker, message: MessageProxy, *, result: object = None, exception: object = None
        ) -> None:
            assert isinstance(broker, StreamsBroker)
            assert result is exception is None
            number = int(message.message_id.replace("-", ""), 16)
            broker.report(message, msgspec.msgpack.encode(make_event(number)))

    broker.add_middleware(Report())
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        for batch in range(drops):
            add_jobs(client, (make_job(number) for number in range(batch, count, drops)))
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        until(lambda: client.xlen(keys.jobs("default")) == 0, "every job has ended")
    finally:
        worker.stop()
    assert {event.cast_id.int for event in usage_events(client)} == set(range(count))
    assert cast.queue_name == "default"


def test_failed_flush_is_kept_repeated_and_surfaces(
    broker: StreamsBroker, client: Redis, make_job: Jobs, make_event: Events, encode: Encode
) -> None:
    add_jobs(client, [make_job(1)])
    consumer = consume(broker)
    [message] = take(consumer, 1)
    broker.report(message, encode(make_event(1)))
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1)
    try:
        consumer.ack(message)
        until(lambda: broker._failure is not None, "the flush has failed")
        with pytest.raises(ConnectionClosed):
            next(consumer)
        assert usage_events(client) == []
        assert pending_count(client) == 1, "An entry was acknowledged without its usage event."
    finally:
        client.config_set("maxmemory", before)
    assert broker.flush_acknowledgements()
    assert usage_events(client) == [make_event(1)]
    assert pending_count(client) == 0


def test_unacknowledged_survive_a_consumer_restart(
    broker: StreamsBroker, client: Redis, make_job: Jobs, make_event: Events, encode: Encode
) -> None:
    add_jobs(client, (make_job(number) for number in range(3)))
    first = consume(broker)
    messages = take(first, 3)
    first.close()
    assert pending_count(client) == 3
    second = consume(broker)
    for number, message in enumerate(messages):
        broker.report(message, encode(make_event(number)))
        (first if number else second).ack(message)
    assert broker.flush_acknowledgements()
    assert [event.cast_id.int for event in usage_events(client)] == [0, 1, 2]
    assert pending_count(client) == 0
    assert next(second) is None


def test_unknown_and_repeated_acknowledgements_do_nothing(broker: StreamsBroker, client: Redis, make_job: Jobs) -> None:
    add_jobs(client, [make_job(1)])
    consumer = consume(broker)
    [message] = take(consumer, 1)
    foreign = MessageProxy(dramatiq.Message(queue_name="default", actor_name="cast", args=(), kwargs={}, options={}))
    consumer.ack(foreign)
    consumer.nack(foreign)
    consumer.ack(message)
    consumer.ack(message)
    consumer.nack(message)
    assert broker.flush_acknowledgements()
    consumer.ack(message)
    assert broker.flush_acknowledgements()
    assert [event.message for event in usage_events(client)] == ["lost"]
    assert dead_reasons(client) == []


def test_each_end_without_a_report_has_its_event(broker: StreamsBroker, client: Redis, make_job: Jobs) -> None:
    add_jobs(client, (make_job(number) for number in range(3)))

    @dramatiq.actor(actor_name="cast", broker=broker)
    def cast(job: bytes) -> None:
        assert job

    class Fate(dramatiq.Middleware):
        def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
            assert broker.queues
            if message.message_id.endswith("1"):
                raise dramatiq.middleware.SkipMessage
            if message.message_id.endswith("2"):
                message.fail()

    broker.add_middleware(Fate())
    run(broker, client)
    events = sorted(usage_events(client), key=lambda event: event.cast_id.int)
    assert [event.message for event in events] == ["lost", "skipped", "failed"]
    assert dead_reasons(client) == [b"failed"]
    assert cast.actor_name == "cast"


def test_retry_leaves_a_delayed_copy_and_no_event(
    make_broker: Callable[..., StreamsBroker], client: Redis, make_job: Jobs
) -> None:
    broker = make_broker(middleware=[dramatiq.middleware.Retries(min_backoff=3_600_000, max_retries=2)])
    add_jobs(client, [make_job(1)])

    @dramatiq.actor(actor_name="cast", broker=broker)
    def cast(job: bytes) -> None:
        raise RuntimeError(job)

    client.set(keys.input_beside("default", make_job(1).cast_id), b"long input")
    run(broker, client)
    assert usage_events(client) == []
    assert client.zcard(keys.delayed("default")) == 1
    assert client.exists(keys.input_beside("default", make_job(1).cast_id)) == 1
    assert cast.queue_name == "default"


def test_undecodable_entries_become_dead_letters(broker: StreamsBroker, client: Redis, make_job: Jobs) -> None:
    client.xadd(keys.jobs("default"), {"m": b"\xc1 no msgpack"})
    client.xadd(keys.jobs("default"), {"other": b"field"})
    add_jobs(client, [make_job(1)])
    client.xadd(keys.jobs("default"), {"m": dramatiq.Message("elsewhere", "cast", (), {}, {}).encode()})
    client.xadd(keys.jobs("default"), {"m": dramatiq.Message("default", "cast", (), {}, {}, "no-cast-id").encode()})
    consumer = consume(broker)
    [message] = take(consumer, 1)
    assert message.message_id == str(make_job(1).cast_id)
    assert broker.flush_acknowledgements()
    assert dead_reasons(client) == [b"undecodable"] * 4
    assert client.xlen(keys.jobs("default")) == 1
    assert usage_events(client) == []


def test_a_lone_message_does_not_wait_for_the_end_of_a_window(
    broker: StreamsBroker,
    client: Redis,
    make_job: Jobs,
    make_event: Events,
    encode: Encode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flusher, "WINDOW_S", 3_600.0)
    consumer = consume(broker)
    for number in range(1, 4):
        add_jobs(client, [make_job(number)])
        [message] = take(consumer, 1)
        broker.report(message, encode(make_event(number)))
        consumer.ack(message)
        until(lambda number=number: len(usage_events(client)) == number, "its event is there")


def test_the_last_that_is_held_is_in_redis_when_its_thread_goes_on(
    broker: StreamsBroker, client: Redis, make_job: Jobs, make_event: Events, encode: Encode
) -> None:
    add_jobs(client, [make_job(1), make_job(2)])
    consumer = consume(broker)
    first, second = take(consumer, 2)
    for message, number in ((first, 1), (second, 2)):
        broker.report(message, encode(make_event(number)))
    broker.flusher.close(1)
    consumer.ack(first)
    assert client.xlen(keys.jobs("default")) == 2, "another is held, so a batch may come together"
    consumer.ack(second)
    assert usage_events(client) == [make_event(1), make_event(2)]
    assert client.xlen(keys.jobs("default")) == pending_count(client) == 0
