"""Entries that may be what kills workers: they wait until this process holds nothing else, then run one by one."""

import threading
from collections import deque
from collections.abc import Callable

from workers.broker.entries import QueueState, StreamMessage


class Suspects:
    """The waiting suspects of all queues of one process. Thread-safe."""

    def __init__(self, held_count: Callable[[], int]) -> None:
        self._held_count = held_count
        self._waiting: deque[StreamMessage] = deque()
        self._running: StreamMessage | None = None
        self._lock = threading.Lock()

    def add(self, message: StreamMessage) -> None:
        """Let a suspect wait; it is held, so the heartbeat keeps it."""
        with self._lock:
            self._waiting.append(message)

    def busy(self) -> bool:
        """Say whether any suspect waits or runs: then nothing else is read."""
        running = self._running
        if running is not None and running.entry.entry_id not in running.entry.queue.held:
            self._running = running = None
        return running is not None or bool(self._waiting)

    def next_alone(self, queue: QueueState) -> StreamMessage | None:
        """Return the next suspect when it is of this queue and everything held is a waiting suspect, else None."""
        with self._lock:
            if not self._waiting or self._waiting[0].entry.queue is not queue:
                return None
            if self._held_count() > len(self._waiting):
                return None
            self._running = self._waiting.popleft()
            return self._running

    def leave(self, queue: QueueState) -> list[StreamMessage]:
        """Take every waiting suspect of a queue out, because its consumer ends."""
        with self._lock:
            mine = [message for message in self._waiting if message.entry.queue is queue]
            self._waiting = deque(message for message in self._waiting if message.entry.queue is not queue)
            return mine
