"""One thread of a real worker runs what waits in order; each test goes on when all of it waits, whenever that is."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import dramatiq
import pytest

from tests.workers.broker.pools import until
from workers.broker import StreamsBroker

COUNT = 40


@pytest.fixture
def broker(make_broker: Callable[..., StreamsBroker]) -> StreamsBroker:
    return make_broker(metered={})


@contextmanager
def running(broker: StreamsBroker, waiting_count: int) -> Generator[None]:
    """Run a worker of one thread that begins when everything the block sends waits in its queue."""
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=20)
    worker.queue_prefetch = waiting_count
    worker.start()
    try:
        (thread,) = worker.workers
        thread.pause()
        thread.paused_event.wait()
        yield
        until(lambda: worker.work_queue.qsize() == waiting_count, "everything waits")
        thread.resume()
        broker.join("default", timeout=120_000)
    finally:
        worker.stop()


def test_one_thread_runs_messages_in_the_order_they_were_sent(broker: StreamsBroker) -> None:
    ran: list[int] = []
    note = dramatiq.actor(ran.append, actor_name="note", broker=broker)
    with running(broker, COUNT):
        for number in range(COUNT):
            note.send(number)
    assert ran == list(range(COUNT))


def test_what_is_more_urgent_runs_first_and_equals_in_order(broker: StreamsBroker) -> None:
    ran: list[tuple[str, int]] = []

    def actor(name: str, priority: int) -> dramatiq.Actor[[int], None]:
        def note(number: int) -> None:
            ran.append((name, number))

        return dramatiq.actor(note, actor_name=name, priority=priority, broker=broker)

    later, soon, now = actor("later", 20), actor("soon", 10), actor("now", 0)
    with running(broker, 30):
        for number in range(10):
            later.send(number)
            now.send(number)
            soon.send(number)
    assert ran == [(name, number) for name in ("now", "soon", "later") for number in range(10)]
