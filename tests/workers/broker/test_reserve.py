"""Messages a thread reserves: what may not run is left alone, and a worker that stops gives the rest back."""

import threading
from collections.abc import Callable
from uuid import UUID

import dramatiq
import pytest
from redis import Redis

from domain.model.messages import CastJob
from tests.workers.broker.pools import add_jobs, pending_count, until
from workers import keys
from workers.broker import StreamsBroker
from workers.broker.entries import StreamMessage

MakeBroker = Callable[..., StreamsBroker]
MakeJob = Callable[..., CastJob]


class Reserving:
    """A worker of one thread whose first message reserves what it can and then waits to be let go."""

    def __init__(self, broker: StreamsBroker, before: Callable[[list[StreamMessage]], object]) -> None:
        self.ran: list[UUID] = []
        self.seen: list[StreamMessage] = []
        self.reserved = threading.Event()
        self.let_go = threading.Event()
        self._broker = broker
        self._before = before
        dramatiq.Actor(self.run, broker=broker, actor_name="cast", queue_name="default", priority=0, options={})

    def run(self, body: bytes) -> None:
        del body
        self.ran.append(UUID(int=len(self.ran)))
        if len(self.ran) > 1:
            return
        queue = self._broker.work_queue
        until(lambda: queue.qsize() == 6, "all the others wait")
        self._before(list(queued(self._broker)))
        self._broker.reserve(lambda message: self.seen.append(message) is None, 8)
        self.reserved.set()
        self.let_go.wait()


def queued(broker: StreamsBroker) -> list[StreamMessage]:
    """Return what waits in the work queue, leaving it there."""
    items = [broker.work_queue.get_nowait() for _ in range(broker.work_queue.qsize())]
    for item in items:
        broker.work_queue.put(item)
    return [item.message for item in items]


def numbers(messages: list[StreamMessage]) -> list[int]:
    return [UUID(message.message_id).int for message in messages]


def test_a_worker_that_stops_gives_back_what_its_threads_reserved(
    client: Redis, make_broker: MakeBroker, make_job: MakeJob
) -> None:
    broker = make_broker()
    add_jobs(client, [make_job(number) for number in range(1, 8)])
    reserving = Reserving(broker, lambda _: None)
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.queue_prefetch = 16
    worker.start()
    assert reserving.reserved.wait(20)
    for thread in worker.workers:
        thread.stop()
    reserving.let_go.set()
    worker.stop()
    broker.flush_acknowledgements()
    assert numbers(reserving.seen) == [2, 3, 4]
    assert len(reserving.ran) == 1
    assert client.xlen(keys.jobs("default")) == 6
    assert pending_count(client) == 0


@pytest.mark.parametrize("flag", ["lost", "canceled", "suspect"])
def test_what_may_not_simply_run_ends_what_is_reserved(
    client: Redis, make_broker: MakeBroker, make_job: MakeJob, flag: str
) -> None:
    def mark_second(messages: list[StreamMessage]) -> None:
        setattr(messages[1].entry, flag, True)

    broker = make_broker()
    add_jobs(client, [make_job(number) for number in range(1, 8)])
    reserving = Reserving(broker, mark_second)
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.queue_prefetch = 16
    worker.start()
    assert reserving.reserved.wait(20)
    assert numbers(reserving.seen) == [2]
    reserving.let_go.set()
    worker.stop()
