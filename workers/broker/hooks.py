"""The first middleware of every StreamsBroker: what must be asked on the worker's thread before a message runs."""

import threading
from typing import TYPE_CHECKING

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage
from dramatiq.worker import ConsumerThread

from workers.broker.entries import StreamMessage
from workers.broker.work_queue import DelayQueue, WorkQueue

if TYPE_CHECKING:
    from workers.broker.streams import StreamsBroker


class EntryHooks(dramatiq.Middleware):
    """Skips what another worker took over or somebody canceled, and records the start of a suspect."""

    def __init__(self, broker: "StreamsBroker") -> None:
        self._broker = broker

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:  # noqa: ARG002  Dramatiq's signature
        """Give the worker a faster queue, before any of its threads exists."""
        worker.work_queue = self._broker.work_queue = WorkQueue()

    def after_consumer_thread_boot(self, broker: dramatiq.Broker, thread: threading.Thread) -> None:  # noqa: ARG002  Dramatiq's signature
        """Give the thread a queue that is cheaper to find empty, before it looks into it."""
        assert isinstance(thread, ConsumerThread), "Dramatiq sends this signal from no other"
        thread.delay_queue = DelayQueue()

    def before_worker_thread_shutdown(self, broker: dramatiq.Broker, thread: threading.Thread) -> None:  # noqa: ARG002  Dramatiq's signature
        """Let the worker find what its thread had reserved, so that it is given back."""
        self._broker.work_queue.give_back()

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:  # noqa: ARG002  Dramatiq's signature
        """Mark the entry as running, or raise SkipMessage."""
        if not isinstance(message, StreamMessage):
            return
        entry = message.entry
        # Running first, then the question: the canceler sets its flag first and then looks who runs.
        entry.running = True
        if entry.suspect and not entry.lost and not self._broker.record_start(entry):
            entry.lost = True
        if entry.lost or entry.canceled:
            entry.running = False
            raise SkipMessage

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:  # noqa: ARG002  Dramatiq's signature
        """Remember for the usage event that the message did not run."""
        if isinstance(message, StreamMessage):
            message.entry.skipped = True
