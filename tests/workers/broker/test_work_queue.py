"""The queue between consumer threads and worker threads keeps what the standard library's promises."""

import threading
from collections.abc import Iterator
from queue import Empty

import pytest

from workers.broker.work_queue import DelayQueue, WorkQueue


class Item:
    """What Dramatiq puts on the queue, as far as the queue looks at it."""

    def __init__(self, priority: int, name: str) -> None:
        self.priority = priority
        self.name = name


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue()


def names(queue: WorkQueue) -> Iterator[str]:
    while not queue.empty():
        yield queue.get_nowait().name


def test_lowest_priority_first_and_equals_in_the_order_they_came(queue: WorkQueue) -> None:
    for priority, name in ((5, "c"), (0, "a"), (5, "d"), (-1, "first"), (0, "b")):
        queue.put(Item(priority, name))
    assert queue.qsize() == 5
    assert list(names(queue)) == ["first", "a", "b", "c", "d"]


def test_an_empty_queue_says_so_at_once_or_in_time(queue: WorkQueue) -> None:
    with pytest.raises(Empty):
        queue.get_nowait()
    with pytest.raises(Empty):
        queue.get(timeout=0.001)


def test_who_waits_without_a_limit_gets_what_comes(queue: WorkQueue) -> None:
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(queue.get().name))
    thread.start()
    queue.put(Item(0, "late"))
    thread.join()
    assert got == ["late"]


def test_every_item_goes_to_one_thread_and_nobody_waits_beyond_the_time(queue: WorkQueue) -> None:
    count, threads = 2_000, 8
    got: list[list[str]] = [[] for _ in range(threads)]

    def work(mine: list[str]) -> None:
        while True:
            try:
                item = queue.get(timeout=0.002)
            except Empty:
                continue
            if item.name == "stop":
                return
            mine.append(item.name)
            queue.task_done()

    workers = [threading.Thread(target=work, args=(mine,)) for mine in got]
    for worker in workers:
        worker.start()
    for number in range(count):
        queue.put(Item(number % 3, str(number)))
    queue.join()
    for _ in workers:
        queue.put(Item(9, "stop"))
    for worker in workers:
        worker.join()
    assert sorted(int(name) for mine in got for name in mine) == list(range(count))


def test_a_thread_gets_what_it_reserved_before_anything_else(queue: WorkQueue) -> None:
    for name in "abcdef":
        queue.put(Item(0, name))
    assert queue.get().name == "a"
    seen: list[str] = []
    queue.reserve(lambda item: seen.append(item.name) is None, 8)
    assert seen == ["b", "c"]  # half of what waits, for the other threads wait for it too
    queue.put(Item(-1, "urgent"))
    others: list[str] = []
    thread = threading.Thread(target=lambda: others.append(queue.get().name))
    thread.start()
    thread.join()
    assert others == ["urgent"]
    assert list(names(queue)) == ["b", "c", "d", "e", "f"]


def test_what_is_not_wanted_stays_first_in_line(queue: WorkQueue) -> None:
    for name in "abcd":
        queue.put(Item(0, name))
    queue.reserve(lambda item: item.name != "b", 8)
    queue.give_back()
    assert list(names(queue)) == ["a", "b", "c", "d"]


def test_what_is_given_back_comes_first_for_every_thread(queue: WorkQueue) -> None:
    for name in "abcd":
        queue.put(Item(0, name))
    queue.reserve(lambda _: True, 8)
    queue.give_back()
    others: list[str] = []
    thread = threading.Thread(target=lambda: others.extend(names(queue)))
    thread.start()
    thread.join()
    assert others == ["a", "b", "c", "d"]


def test_a_delay_queue_is_a_priority_queue_that_says_at_once_that_it_is_empty() -> None:
    queue = DelayQueue()
    with pytest.raises(Empty):
        queue.get_nowait()
    for number in (2, 1, 3):
        queue.put(number)
    assert [queue.get_nowait() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(Empty):
        queue.get_nowait()
