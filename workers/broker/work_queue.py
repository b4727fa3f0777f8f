"""The queue between Dramatiq's consumer threads and its worker threads."""

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, PriorityQueue
from typing import Any


class WorkQueue(PriorityQueue[Any]):  # Any: Dramatiq keeps its items' type to itself; they have a `priority`
    """A PriorityQueue of Dramatiq's items: lowest priority first, and among equals the one that was put first.

    The standard library's keeps a heap whose items compare themselves in Python, and every put and get goes through a
    condition: a quarter of a message's time, measured. Few priorities are in use at once, so each has a lane here, and
    who finds something waits for nobody. (Its SimpleQueue, in C, may wait for ever in a `get` with a timeout: Python
    3.11.) Unbounded, as Dramatiq's is: consumers bound what they hand on.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lanes: dict[int, deque[Any]] = {}
        self._in_order: tuple[deque[Any], ...] = ()
        # A lock for each thread that waits: who puts something takes one out and releases it.
        self._waiting: deque[threading.Lock] = deque()
        self._counting = threading.Lock()
        self._reserved: dict[int, deque[Any]] = {}

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002, FBT001, FBT002  the standard library's signature
        """Add an item; never waits."""
        lane = self._lanes.get(item.priority)
        if lane is None:
            lane = self._add_lane(item.priority)
        with self._counting:  # whoever found a lane that is just being added waits here until `_take` looks into it
            self.unfinished_tasks += 1
        lane.append(item)
        self._wake()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  the standard library's signature
        """Take what this thread reserved, else the first item; queue.Empty when none came in time."""
        if self._reserved and (mine := self._reserved.get(threading.get_ident())):
            return mine.popleft()
        item = self._take()
        if item is None and block:
            item = self._wait(None if timeout is None else time.monotonic() + timeout)
        if item is None:
            raise Empty
        return item

    def reserve(self, wanted: Callable[[Any], bool], count_max: int) -> None:
        """Keep the next items for this thread's next `get`s, up to the first that is not wanted.

        Never more than half of what waits, and nothing while another thread waits for work.
        """
        for _ in range(min(count_max, self._qsize() // 2)):
            item = None if self._waiting else self._take()
            if item is None:
                return
            if not wanted(item):
                self._put_back(item)
                return
            self._reserved.setdefault(threading.get_ident(), deque()).append(item)

    def give_back(self) -> None:
        """Let every thread have what this one reserved and has not got yet, before anything else."""
        mine = self._reserved.pop(threading.get_ident(), None)
        while mine:
            self._put_back(mine.pop())

    def task_done(self) -> None:
        """Note that an item was worked off."""
        with self._counting:
            self.unfinished_tasks -= 1
            left = self.unfinished_tasks
        if not left:
            with self.all_tasks_done:
                self.all_tasks_done.notify_all()

    def _qsize(self) -> int:
        return sum(map(len, self._in_order))

    def _add_lane(self, priority: int) -> "deque[Any]":
        with self._counting:
            lane = self._lanes.setdefault(priority, deque())
            self._in_order = tuple(self._lanes[one] for one in sorted(self._lanes))
            return lane

    def _put_back(self, item: Any) -> None:
        self._lanes[item.priority].appendleft(item)
        self._wake()

    def _take(self) -> Any:
        for lane in self._in_order:
            if lane:
                try:
                    return lane.popleft()
                except IndexError:
                    continue  # another thread was faster
        return None

    def _wait(self, deadline: float | None) -> Any:
        """Return the next item, None when none came until the deadline."""
        mine = threading.Lock()
        mine.acquire()
        while True:
            self._waiting.append(mine)
            # Whoever put something before this line did not see us wait.
            item = self._take()
            left = -1 if deadline is None else max(deadline - time.monotonic(), 0)
            if item is None and mine.acquire(timeout=left):
                continue
            self._stop_waiting(mine)
            return item

    def _stop_waiting(self, mine: threading.Lock) -> None:
        try:
            self._waiting.remove(mine)
        except ValueError:
            # Somebody woke us for an item of theirs; if it is still there, another thread must look.
            if self._qsize():
                self._wake()

    def _wake(self) -> None:
        if self._waiting:
            try:
                waiting = self._waiting.popleft()
            except IndexError:
                return  # it found something by itself
            waiting.release()


class DelayQueue(PriorityQueue[Any]):
    """A PriorityQueue that says without a lock that it is empty: Dramatiq asks after every message it hands on.

    For its consumer threads' own queue of delayed messages, which one thread alone uses; with this broker they wait in
    Redis instead, so it is always empty.
    """

    def get_nowait(self) -> Any:
        """Take the first item; queue.Empty when there is none."""
        if not self.queue:
            raise Empty
        return super().get_nowait()
