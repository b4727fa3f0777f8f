"""The broker's pulse: renews what is held, asks twice a second who was canceled, says that the worker lives."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from workers.broker import replies, scripts
from workers.broker.entries import QueueState

if TYPE_CHECKING:
    from workers.broker.streams import StreamsBroker

_logger: Final = logging.getLogger(__name__)

TICK_S: Final = 0.5
# A script that renews this many keeps Redis busy for about a millisecond.
RENEW_COUNT_MAX: Final = 256
PRUNE_EVERY_S: Final = 60.0
# A consumer silent for ten minutes is a process that is gone: a living one reads ten times a second.
PRUNE_IDLE_MS: Final = 600_000


class Beat:
    """A thread that runs `beat_once` until it is closed."""

    def __init__(self, broker: "StreamsBroker", every_s: float, facts: Callable[[], bytes]) -> None:
        self._broker = broker
        self._every_s = every_s
        self._facts = facts
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._renew_at = 0.0
        self._prune_at = 0.0

    def start(self) -> None:
        """Start the thread once; repeated calls do nothing."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._stop.clear()
                self._thread = threading.Thread(target=self._run, name="spell-broker-beat", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        tick_s = min(TICK_S, self._every_s)
        while not self._stop.wait(tick_s):
            try:
                self.beat_once(time.monotonic())
            except Exception:
                # Entries not renewed in time are taken over by another worker; that is what the idle time is for.
                _logger.exception("A heartbeat failed.")

    def beat_once(self, now: float) -> int:
        """Do what is due at `now` (monotonic seconds); return how many entries were renewed or found lost."""
        queues = self._broker.consumed_queues()
        for queue in queues:
            if queue.lost_event is not None and queue.held:
                self._broker.ask_canceled(queue)
        if now < self._renew_at:
            return 0
        self._renew_at = now + self._every_s
        seen = sum(self._renew(queue) for queue in queues)
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_EVERY_S
            for queue in queues:
                names = queue.keys
                keep = self._broker.consumer_name
                self._broker.link.script(scripts.PRUNE, [names.jobs], names.group, PRUNE_IDLE_MS, keep)
        return seen

    def _renew(self, queue: QueueState) -> int:
        names, consumer = queue.keys, self._broker.consumer_name
        if queue.lost_event is not None:
            facts = self._facts()
            self._broker.link.script(scripts.ALIVE, [names.workers, names.worker_facts], consumer, facts)
        ids = list(queue.held)
        for start in range(0, len(ids), RENEW_COUNT_MAX):
            chunk = ids[start : start + RENEW_COUNT_MAX]
            reply = self._broker.link.script(scripts.RENEW, [names.jobs], names.group, consumer, *chunk)
            for entry_id in replies.byte_list(reply):
                entry = queue.held.get(entry_id)
                if entry is not None:
                    entry.lost = True
        return len(ids)
