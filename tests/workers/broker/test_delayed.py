import time
from collections.abc import Callable

import dramatiq
import pytest
from dramatiq.errors import QueueJoinTimeout, QueueNotFound
from redis import Redis

from tests.workers.broker.pools import until
from workers import keys
from workers.broker import StreamsBroker

Brokers = Callable[..., StreamsBroker]


def test_delayed_messages_run_when_due_and_in_order(make_broker: Brokers, client: Redis) -> None:
    broker = make_broker(metered={})
    ran: list[tuple[int, float]] = []

    @dramatiq.actor(broker=broker)
    def note(number: int) -> None:
        ran.append((number, time.monotonic()))

    began = time.monotonic()
    # Further apart than a busy machine sends them; one thread, in case both are due when somebody looks.
    note.send_with_options(args=(2,), delay=2_000)
    note.send_with_options(args=(1,), delay=200)
    assert client.zcard(keys.delayed("default")) == 2
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    broker.join("default", timeout=120_000)
    worker.stop()
    assert [number for number, _ in ran] == [1, 2]
    assert [at - began >= due for (_, at), due in zip(ran, (0.2, 2.0), strict=True)] == [True, True]


def test_failed_messages_run_again(make_broker: Brokers, client: Redis) -> None:
    broker = make_broker(metered={}, middleware=None)
    attempts: list[int] = []

    @dramatiq.actor(broker=broker, max_retries=3, min_backoff=10, max_backoff=20)
    def fail_twice(number: int) -> None:
        attempts.append(number)
        if len(attempts) < 3:
            raise RuntimeError

    fail_twice.send(7)
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=50)
    worker.start()
    broker.join("default", timeout=120_000)
    worker.stop()
    assert attempts == [7, 7, 7]
    assert client.xlen(keys.dead("default")) == 0


def test_one_due_message_is_moved_once_by_many_workers(make_broker: Brokers, client: Redis) -> None:
    brokers = [make_broker(metered={}) for _ in range(3)]
    ran: list[int] = []
    for broker in brokers:
        actor = dramatiq.actor(ran.append, actor_name="note", broker=broker)
    for number in range(100):
        actor.send_with_options(args=(number,), delay=100)
    workers = [dramatiq.Worker(broker, worker_threads=1, worker_timeout=50) for broker in brokers]
    for worker in workers:
        worker.start()
    until(lambda: client.zcard(keys.delayed("default")) + client.xlen(keys.jobs("default")) == 0, "all have run")
    for worker in workers:
        worker.stop()
    assert sorted(ran) == list(range(100))


def test_join_waits_for_delayed_messages_and_gives_up(make_broker: Brokers) -> None:
    broker = make_broker(metered={})
    broker.enqueue(dramatiq.Message("default", "note", (), {}, {}), delay=3_600_000)
    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=60)
    broker.flush_all()
    broker.join("default", timeout=60)


def test_undeclared_queues_are_refused(broker: StreamsBroker) -> None:
    with pytest.raises(QueueNotFound):
        broker.consume("nowhere")
    with pytest.raises(QueueNotFound):
        broker.enqueue(dramatiq.Message("nowhere", "note", (), {}, {}))
    with pytest.raises(QueueNotFound):
        broker.join("nowhere")
