"""Ends entries in Redis, many in one transaction: under load a thread of its own does, for all others.

`ack` only appends here and returns, unless nothing else is held: then nothing comes that would fill a batch, and
waking another thread costs more than the round trip. A completion that could not be flushed is kept and tried again
until Redis confirms it: a second usage event is harmless, a lost one is not.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import ResponseError

from domain.model.limits import MIB
from workers import keys
from workers.broker import scripts
from workers.broker.bundle import bundled
from workers.broker.entries import Completion, QueueState
from workers.broker.link import Command, Link

_logger: Final = logging.getLogger(__name__)

# Tiny batches eat the machine: a cast cost the worker 213 µs of CPU with 3 ms windows that were cut short, 137 with
# 6 ms ones that are not (measured). The ledger gathers for as long. Only under load: at rest an acknowledgement does
# not wait.
WINDOW_S: Final = 0.01
# One transaction blocks Redis for well under a millisecond at this size.
BATCH_COUNT_MAX: Final = 256
BATCH_BYTES_MAX: Final = 8 * MIB
# Dead letters are for people to look at; without a bound they would fill Redis, which must keep room for finishing.
DEAD_LETTERS_MAX: Final = 10_000
RETRY_WAIT_S: Final = 0.2
RETRY_WAIT_S_MAX: Final = 2.0


class Flusher:
    """Owns every completion from `ack` until Redis has confirmed it. All methods may be called from any thread."""

    def __init__(self, link: Link, on_failure: Callable[[Exception], None]) -> None:
        self._link = link
        self._on_failure = on_failure
        self._waiting: deque[Completion] = deque()
        self._turn = threading.Lock()
        """Held by whoever flushes."""
        self._flushed_at = 0.0
        self._work = threading.Event()
        self._hurry = threading.Event()
        self._idle = threading.Condition()
        self._unflushed = 0
        self._closing = False
        self.failing = False
        """The last flush failed and is being repeated."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def add(self, completion: Completion) -> None:
        """Take a completion; it is flushed within WINDOW_S while Redis answers, here and now when no other is held."""
        self._waiting.append(completion)
        waiting = len(self._waiting)
        is_last = waiting >= len(completion.queue.held)
        if is_last and not self.failing and self._turn.acquire(blocking=False):
            try:
                self._flush_waiting()
            finally:
                self._turn.release()
            return
        if not self._work.is_set():
            self._work.set()
        if is_last or waiting >= BATCH_COUNT_MAX:
            self._hurry.set()

    def hurry(self) -> None:
        """Flush now rather than at the end of the window: somebody waits for room."""
        self._hurry.set()

    def start(self) -> None:
        """Start the thread once; repeated calls do nothing."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._closing = False
                self._thread = threading.Thread(target=self._run, name="spell-broker-flusher", daemon=True)
                self._thread.start()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything added so far is confirmed; False when the time was not enough."""
        deadline = time.monotonic() + timeout_s
        if self._thread is None:
            self.start()
        self._hurry.set()
        with self._idle:
            while self._waiting or self._unflushed:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._idle.wait(min(left, WINDOW_S))
                self._hurry.set()
        return True

    def close(self, timeout_s: float) -> bool:
        """Drain, then end the thread. What could not be flushed stays in Redis as pending and is run again."""
        drained = self.drain(timeout_s) if self._waiting or self._unflushed else True
        self._closing = True
        self._work.set()
        self._hurry.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
            self._thread = None
        return drained

    def _run(self) -> None:
        wait_s = RETRY_WAIT_S
        while not self._closing:
            self._work.wait()
            # At rest nothing waits; under load the window since the last flush fills a batch.
            window_s = self._flushed_at + WINDOW_S - time.monotonic()
            if window_s > 0:
                self._hurry.wait(window_s)
            self._work.clear()
            self._hurry.clear()
            with self._turn:
                flushed = self._flush_waiting()
            if flushed:
                wait_s = RETRY_WAIT_S
            else:
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_WAIT_S_MAX)

    def _flush_waiting(self) -> bool:
        """Flush what waits, as much as one transaction carries; tells whether Redis has it. Only in one's turn."""
        batch = self._take()
        try:
            self._flush(batch)
        except Exception as error:  # noqa: BLE001  whatever it is, the batch is kept and the thread must live
            self.failing = True
            self._keep(batch, error)
            return False
        self.failing = False
        self._confirm(batch)
        self._flushed_at = time.monotonic()
        return True

    def _take(self) -> list[Completion]:
        batch: list[Completion] = []
        size_bytes = 0
        while self._waiting and len(batch) < BATCH_COUNT_MAX and size_bytes < BATCH_BYTES_MAX:
            self._unflushed = len(batch) + 1
            completion = self._waiting.popleft()
            batch.append(completion)
            size_bytes += completion.size_bytes()
        if self._waiting:
            self._work.set()
            self._hurry.set()
        return batch

    def _keep(self, batch: list[Completion], error: Exception) -> None:
        _logger.warning("Flushing %d acknowledgements failed and is repeated: %s", len(batch), error)
        self._waiting.extendleft(reversed(batch))
        self._unflushed = 0
        self._work.set()
        self._on_failure(error)

    def _confirm(self, batch: list[Completion]) -> None:
        for queue, completions in _by_queue(batch).items():
            queue.release([completion.entry for completion in completions if completion.entry is not None])
        with self._idle:
            self._unflushed = 0
            self._idle.notify_all()

    def _flush(self, batch: list[Completion]) -> None:
        if not batch:
            return
        commands: list[Command] = []
        for queue, completions in _by_queue(batch).items():
            commands.append(("MULTI",))
            commands.extend(_transaction(queue, completions))
            commands.append(("EXEC",))
        for reply in self._link.run(commands):
            for part in reply if isinstance(reply, list) else (reply,):
                if isinstance(part, ResponseError):
                    raise part


def _by_queue(batch: Sequence[Completion]) -> dict[QueueState, list[Completion]]:
    groups: dict[QueueState, list[Completion]] = {}
    for completion in batch:
        groups.setdefault(completion.queue, []).append(completion)
    return groups


def _transaction(queue: QueueState, completions: Sequence[Completion]) -> list[Command]:
    """Return what ends these entries: events, copies and dead letters first, then the acknowledgement of all."""
    names = queue.keys
    commands: list[Command] = []
    events: list[bytes] = []
    for completion in completions:
        entry = completion.entry
        if completion.output is not None and entry is not None:
            commands.append(("SET", keys.output_beside(queue.name, entry.cast_id(), queue.shard), completion.output))
        if completion.usage is not None:
            events.append(completion.usage)
        if completion.retry is not None:
            delay_ms, member = completion.retry
            # By text, not by digest: an unknown digest would fail inside the transaction after the acknowledgement.
            commands.append(("EVAL", scripts.DELAY.text, 1, names.delayed, delay_ms, member))
        if completion.dead_reason is not None and entry is not None:
            bound = ("MAXLEN", "~", DEAD_LETTERS_MAX)
            commands.append(("XADD", names.dead, *bound, "*", "m", entry.body, "r", completion.dead_reason))
    commands.extend(bundled(names.usage, events))
    commands.extend(_acknowledgement(queue, completions))
    return commands


def _acknowledgement(queue: QueueState, completions: Sequence[Completion]) -> list[Command]:
    ended = [completion.entry for completion in completions if completion.entry and queue.holds(completion.entry)]
    if not ended:
        return []
    names = queue.keys
    ids = [entry.entry_id for entry in ended]
    # XDEL with XACK: an acknowledged entry that stays in the stream is memory nobody gives back.
    commands: list[Command] = [("XACK", names.jobs, names.group, *ids), ("XDEL", names.jobs, *ids)]
    suspects = [entry.entry_id for entry in ended if entry.suspect]
    if suspects:
        commands.append(("HDEL", names.starts, *suspects))
    inputs = [
        keys.input_beside(queue.name, completion.entry.cast_id(), queue.shard)
        for completion in completions
        if completion.entry is not None and completion.entry.beside and completion.retry is None
    ]
    if inputs:
        commands.append(("UNLINK", *inputs))
    return commands
