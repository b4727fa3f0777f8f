"""A Dramatiq broker on Redis Streams: at-least-once, batched both ways, with a usage event for every metered message.

The broker owns what is delivered and not yet ended (`QueueState.held`) and the two threads that serve it; consumers
come and go. Nothing here needs Redis to remember: after FLUSHALL everything is made again.
"""

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from dramatiq.broker import MessageProxy
from dramatiq.common import current_millis, dq_name, q_name
from dramatiq.errors import ConnectionClosed, QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import Middleware, default_middleware
from redis.exceptions import ResponseError

from workers import keys
from workers.broker import replies, scripts
from workers.broker.beat import Beat
from workers.broker.consumer import SUSPECT_DELIVERIES, StreamsConsumer
from workers.broker.ending import buried, ended, is_newer, undecodable, understood
from workers.broker.entries import (
    AnyMessage,
    Completion,
    Entry,
    LostEvent,
    QueueState,
    StreamMessage,
)
from workers.broker.flusher import Flusher
from workers.broker.hooks import EntryHooks
from workers.broker.link import LINK_ERRORS, Command, Link, checked, connection_pool
from workers.broker.signals import QuietBroker
from workers.broker.suspects import Suspects
from workers.broker.work_queue import WorkQueue

PREFETCH_MAX: Final = 256
# Five missed heartbeats: a worker that silent is dead, or paused for so long that running twice is the better evil.
HEARTBEAT_MS: Final = 1_000
CLAIM_IDLE_MS: Final = 5_000
# Two recorded starts without an end, after two deliveries nobody counted: four attempts at most.
POISON_STARTS: Final = 2
# Entries, of 64 events at most and twenty under load: a ledger settles 10,000 events a second, so that is the backlog
# of twenty seconds, some 80 MiB.
USAGE_LENGTH_MAX: Final = 10_000
# Finishing a cast needs memory too; workers stop starting while a fifth of it is still free.
MEMORY_SHARE_MAX: Final = 0.8
FLUSH_TIMEOUT_S: Final = 5.0
REQUEUE_COUNT_MAX: Final = 128


class StreamsBroker(QuietBroker):
    """The broker of the platform, and of any Dramatiq program that has a Redis.

    `metered` maps a queue to what makes a usage event for a message that ended without one (`LostEvent`). On a metered
    queue message ids are cast ids and no entry is acknowledged without an event or a delayed copy in the same MULTI.
    `on_cancel` is called with the id of each running cast that is to be killed, once, from the heartbeat's thread.
    `facts` is what this worker says about itself, for whoever counts workers. Several brokers may share one Redis.
    """

    def __init__(
        self,
        url: str,
        *,
        middleware: list[Middleware] | None = None,
        metered: Mapping[str, LostEvent] | None = None,
        on_cancel: Callable[[UUID], None] | None = None,
        facts: Callable[[], bytes] = bytes,
        shard: int = 0,
        prefetch_max: int = PREFETCH_MAX,
        heartbeat_ms: int = HEARTBEAT_MS,
        claim_idle_ms: int = CLAIM_IDLE_MS,
        usage_length_max: int = USAGE_LENGTH_MAX,
    ) -> None:
        chosen = [make() for make in default_middleware] if middleware is None else middleware
        super().__init__(middleware=[EntryHooks(self), *chosen])
        self.queues: dict[str, QueueState] = {}
        self.prefetch_max = prefetch_max
        self.claim_idle_ms = claim_idle_ms
        self.link = Link(connection_pool(url))
        self.flusher = Flusher(self.link, self._note_failure)
        self.suspects = Suspects(self._held_count)
        self.work_queue = WorkQueue()
        """Between the threads of the worker that runs; each worker brings its own."""
        self._beat = Beat(self, heartbeat_ms / 1000, facts)
        self._metered = dict(metered or {})
        self._on_cancel = on_cancel
        self._shard = shard
        self._usage_length_max = usage_length_max
        self._failure: Exception | None = None
        self._consumed: dict[str, QueueState] = {}
        self._lock = threading.Lock()

    @cached_property
    def consumer_name(self) -> str:
        """The name this process has in consumer groups, made at first use: after a fork, that is.

        It is never used again, so an entry owned by it is one this process holds or whose delivery got lost.
        """
        return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"

    # Dramatiq's contract

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> StreamsConsumer:
        """Return a consumer of a declared queue; `prefetch` is where its bound starts, `timeout` is in ms."""
        queue = self._queue(queue_name)
        with self._lock:
            self._consumed[queue.name] = queue
        self.flusher.start()
        self._beat.start()
        return StreamsConsumer(self, queue, prefetch, timeout)

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue known; no I/O, and declaring twice does nothing."""
        if queue_name in self.queues:
            return
        self.emit_before("declare_queue", queue_name)
        self.queues[queue_name] = QueueState(queue_name, self._shard, self._metered.get(queue_name))
        self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: AnyMessage | StreamMessage, *, delay: int | None = None) -> AnyMessage:
        """Add a message, after `delay` milliseconds if one is given.

        The delayed copy of a message that is being processed (a retry) is stored in the MULTI that acknowledges it.
        Raises QueueNotFound, and ConnectionClosed: then the message may have been added all the same.
        """
        queue = self._queue(message.queue_name)
        held, plain = (message.entry, message.message) if isinstance(message, StreamMessage) else (None, message)
        copy = dataclasses.replace(plain, queue_name=queue.name, options=dict(plain.options))
        if delay is not None:
            delay = max(0, int(delay))
            options = {**plain.options, "eta": current_millis() + delay}
            copy = dataclasses.replace(plain, queue_name=dq_name(queue.name), options=options)
        self.emit_before("enqueue", copy, delay)
        try:
            if delay is None:
                self.link.call("XADD", queue.keys.jobs, "*", "m", copy.encode())
            else:
                # The sorted set knows when it is due; with an eta inside, Dramatiq would hold it back once more.
                options = {name: value for name, value in copy.options.items() if name != "eta"}
                body = dataclasses.replace(copy, queue_name=queue.name, options=options).encode()
                self._delay(queue, held, delay, os.urandom(16) + body)
        except LINK_ERRORS as error:
            raise ConnectionClosed(error) from error
        self.emit_after("enqueue", copy, delay)
        return copy

    def flush(self, queue_name: str) -> None:
        """Drop all messages of a queue, delayed and dead ones too."""
        names = self._queue(queue_name).keys
        self.link.call("UNLINK", names.jobs, names.delayed, names.dead, names.starts)

    def flush_all(self) -> None:
        """Drop all messages of all declared queues."""
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, interval: int = 20, timeout: int | None = None) -> None:
        """Wait until a queue has nothing to run, now or later; looks every `interval` ms, for tests.

        Raises QueueJoinTimeout after `timeout` ms.
        """
        queue = self._queue(queue_name)
        deadline = None if timeout is None else time.monotonic() + timeout / 1000
        while True:
            sizes = self.link.run([("XLEN", queue.keys.jobs), ("ZCARD", queue.keys.delayed)])
            if not any(replies.integer(checked(size)) for size in sizes):
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise QueueJoinTimeout(queue_name)
            time.sleep(interval / 1000)

    def close(self) -> None:
        """Flush what is acknowledged, end the threads, drop the connections. What was not flushed is run again."""
        if not self.flusher.close(FLUSH_TIMEOUT_S):
            self.logger.warning("Some acknowledgements could not be flushed: their messages will run again.")
        self._beat.close()
        self._say_goodbye()
        self.link.close()

    # What actors of metered queues call

    def report(self, message: MessageProxy, event: bytes, output_beside: bytes | None = None) -> None:
        """Keep the usage event of a message until its acknowledgement carries it, with an output too long for it.

        The last report before the acknowledgement counts, and it wins over a retry.
        """
        if isinstance(message, StreamMessage):
            assert isinstance(event, bytes), "A usage event is bytes; anything else would stop the flusher."
            message.entry.report, message.entry.output = event, output_beside

    def progress(self, message: MessageProxy, event: bytes) -> None:
        """Send an event about a message that goes on, within the flusher's next batch."""
        if isinstance(message, StreamMessage):
            completion = Completion(message.entry.queue)
            completion.usage = event
            self.flusher.add(completion)

    def reserve(self, wanted: Callable[[StreamMessage], bool], count_max: int) -> None:
        """Keep the messages that come next for the thread that calls, up to the first not wanted or not to be run.

        Its worker thread gets exactly these next, in the order in which `wanted` saw them, unless it gives them back.
        """

        def is_wanted(item: Any) -> bool:  # Any: Dramatiq keeps the type of its items to itself
            message = item.message
            assert isinstance(message, StreamMessage), "the queue holds what this broker's consumers handed on"
            entry = message.entry
            return not (entry.lost or entry.canceled or entry.suspect) and wanted(message)

        self.work_queue.reserve(is_wanted, count_max)

    def give_back_reserved(self) -> None:
        """Let every thread have what the calling one reserved and has not begun."""
        self.work_queue.give_back()

    def load_input(self, message: MessageProxy) -> bytes | None:
        """Return the input that lies beside the stream, None when it is gone; its end deletes it."""
        if not isinstance(message, StreamMessage):
            return None
        entry = message.entry
        entry.beside = True
        reply = self.link.call("GET", keys.input_beside(entry.queue.name, entry.cast_id(), self._shard))
        return reply if isinstance(reply, bytes) else None

    # What consumers, hooks and the heartbeat call

    def consumed_queues(self) -> list[QueueState]:
        """Return the queues this process consumes."""
        with self._lock:
            return list(self._consumed.values())

    def raise_failure(self) -> None:
        """Raise ConnectionClosed once for each failed flush since the last call."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise ConnectionClosed(failure)

    def flush_acknowledgements(self, timeout_s: float = FLUSH_TIMEOUT_S) -> bool:
        """Wait until everything acknowledged so far is in Redis; False when the time was not enough."""
        return self.flusher.drain(timeout_s)

    def make_group(self, queue: QueueState) -> None:
        """Make the consumer group, from the stream's beginning; that it exists is fine."""
        try:
            self.link.call("XGROUP", "CREATE", queue.keys.jobs, queue.keys.group, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def admit(self, queue: QueueState, raw: replies.StreamEntry, *, suspect: bool) -> StreamMessage | None:
        """Hold a delivered entry and decode it; None when it was deleted, is a dead letter or newer than us."""
        fields = raw.fields
        if fields is None:
            self.link.call("XACK", queue.keys.jobs, queue.keys.group, raw.entry_id)
            return None
        entry = Entry(queue, raw.entry_id, fields.get(b"m", b""), suspect=suspect or b"s" in fields)
        queue.held[raw.entry_id] = entry
        message = understood(entry)
        if message is None:
            self.logger.error("Entry %r of queue %r is no message of it.", raw.entry_id, queue.name)
            entry.finished = True
            self.flusher.add(undecodable(entry))
        elif queue.lost_event is not None and is_newer(message):
            # Left pending, for a newer worker to take over.
            del queue.held[raw.entry_id]
            return None
        return message

    def claim(self, queue: QueueState, ids: Sequence[bytes]) -> list[replies.StreamEntry]:
        """Take over entries that are still idle. Those whose stream entry is gone are acknowledged away."""
        names = queue.keys
        command = ("XCLAIM", names.jobs, names.group, self.consumer_name, self.claim_idle_ms, *ids)
        found = replies.entries(self.link.call(*command))
        present = {entry.entry_id for entry in found}
        missing = [entry_id for entry_id in ids if entry_id not in present]
        rows = self.link.run([("XRANGE", names.jobs, entry_id, entry_id) for entry_id in missing]) if missing else []
        gone = [entry_id for entry_id, row in zip(missing, rows, strict=True) if not checked(row)]
        if gone:
            self.link.call("XACK", names.jobs, names.group, *gone)
        return found

    def complete(self, message: StreamMessage, *, failed: bool) -> None:
        """End a message in Redis with the next flush; a message that is unknown or ended before is ignored."""
        entry = message.entry
        queue = entry.queue
        if entry.finished:
            return
        entry.finished = True
        if entry.lost and entry.skipped:
            queue.release([entry])
            return
        self.flusher.add(ended(message, failed=failed))

    def bury(self, message: StreamMessage, reason: str) -> None:
        """End a message that must not run again: a dead letter and, where metered, the event that says so."""
        message.fail()
        self.emit_before("nack", message)
        message.entry.finished = True
        self.flusher.add(buried(message, reason))
        self.emit_after("nack", message)

    def give_back(self, queue: QueueState, entries: Iterable[Entry]) -> None:
        """Put entries that were not run back onto the stream, at once visible to every worker."""
        names = queue.keys
        mine = [entry for entry in entries if queue.holds(entry) and not entry.finished]
        for start in range(0, len(mine), REQUEUE_COUNT_MAX):
            chunk = mine[start : start + REQUEUE_COUNT_MAX]
            ids = [entry.entry_id for entry in chunk]
            arguments = (names.group, self.consumer_name, SUSPECT_DELIVERIES, *ids)
            self.link.script(scripts.REQUEUE, [names.jobs, names.starts], *arguments)
            queue.release(chunk)

    def record_start(self, entry: Entry) -> bool:
        """Record that a suspect starts; False when it may not: it is not ours any more, or Redis is silent."""
        names = entry.queue.keys
        arguments = (names.group, self.consumer_name, entry.entry_id)
        try:
            return replies.integer(self.link.script(scripts.START, [names.jobs, names.starts], *arguments)) > 0
        except (*LINK_ERRORS, ResponseError) as error:
            self.logger.warning("The start of suspect %r could not be recorded: %s", entry.entry_id, error)
            return False

    def is_poison(self, entry: Entry) -> bool:
        """Say whether an entry was started alone too often without an end."""
        return replies.integer(self.link.call("HGET", entry.queue.keys.starts, entry.entry_id)) >= POISON_STARTS

    def ask_canceled(self, queue: QueueState) -> None:
        """Mark what is canceled among the held, and have those that run killed."""
        asked = [entry for entry in list(queue.held.values()) if not entry.canceled and not entry.finished]
        asked = [entry for entry in asked if entry.message_id]
        if not asked or queue.lost_event is None:
            return
        ids = [entry.cast_id_bytes() for entry in asked]
        answers = replies.integers(self.link.call("SMISMEMBER", queue.keys.canceled, *ids))
        for entry, answer in zip(asked, answers, strict=True):
            if answer:
                entry.canceled = True
                if entry.running and not entry.finished and self._on_cancel is not None:
                    self._on_cancel(entry.cast_id())

    def pressed(self, queue: QueueState) -> bool:
        """Say whether the ledger is far behind or Redis nearly full: then nothing new is started."""
        length, info = self.link.run([("XLEN", queue.keys.usage), ("INFO", "memory")])
        used_bytes, bytes_max = replies.memory(checked(info))
        full = bytes_max > 0 and used_bytes > bytes_max * MEMORY_SHARE_MAX
        return full or replies.integer(checked(length)) > self._usage_length_max

    # Inside

    def _queue(self, queue_name: str) -> QueueState:
        try:
            return self.queues[q_name(queue_name)]
        except KeyError:
            raise QueueNotFound(queue_name) from None

    def _say_goodbye(self) -> None:
        name = self.consumer_name
        metered = [queue.keys for queue in self.consumed_queues() if queue.lost_event is not None]
        commands: list[Command] = [("ZREM", names.workers, name) for names in metered]
        commands += [("HDEL", names.worker_facts, name) for names in metered]
        try:
            self.link.run(commands)
        except LINK_ERRORS as error:
            self.logger.info("Redis is silent, so it will find out by itself that this worker left: %s", error)

    def _held_count(self) -> int:
        return sum(len(queue.held) for queue in self.queues.values())

    def _note_failure(self, error: Exception) -> None:
        self._failure = error

    def _delay(self, queue: QueueState, held: Entry | None, delay_ms: int, member: bytes) -> None:
        if held is not None and held.retry is None and not held.finished:
            held.retry = (delay_ms, member)
        else:
            self.link.script(scripts.DELAY, [queue.keys.delayed], delay_ms, member)
