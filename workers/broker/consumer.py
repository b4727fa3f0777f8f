"""The consumer of one queue: a bounded buffer, filled by batched reads.

It owns nothing that must survive it. Trouble with the connection surfaces as ConnectionClosed; Dramatiq then makes
another consumer, which goes on with what the broker still holds.
"""

import random
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.errors import ConnectionClosed
from redis.exceptions import NoScriptError, ResponseError

from workers.broker import replies, scripts
from workers.broker.entries import QueueState, StreamMessage
from workers.broker.link import LINK_ERRORS, Command, checked

if TYPE_CHECKING:
    from workers.broker.streams import StreamsBroker

# The longest a delayed message is late on an idle queue, and a blocked reader deaf to what else happened.
BLOCK_MS_MAX: Final = 100
# Under load the delayed set is looked at this often at most.
DUE_EVERY_S: Final = 0.02
DUE_COUNT_MAX: Final = 256
# While the threads have work, waiting this long for more room makes the next read a batch: a fifth of what is fetched
# ahead at most, and cut short when half of that is done.
GATHER_S: Final = 0.02
# A second between looks for abandoned entries, give or take half, so that workers do not look in step.
CLAIM_EVERY_S: Final = 1.0
PENDING_COUNT_MAX: Final = 256
# XPENDING's count before the claim: the claim makes it the third delivery.
SUSPECT_DELIVERIES: Final = 3
PRESSURE_EVERY_S: Final = 0.25


class StreamsConsumer(dramatiq.Consumer):
    """Hands on the messages of one queue. `__next__` belongs to one thread; ack, nack and requeue to any."""

    def __init__(self, broker: "StreamsBroker", queue: QueueState, prefetch: int, timeout_ms: int) -> None:
        self._broker = broker
        self._queue = queue
        self._prefetch = prefetch
        self._timeout_s = timeout_ms / 1000
        self._buffer: deque[StreamMessage] = deque()
        while queue.carried:
            self._keep(queue.carried.popleft())
        self._abandoned: deque[bytes] = deque()
        self._suspected: deque[bytes] = deque()
        self._due_at = 0.0
        self._claim_at = 0.0
        self._pressure_at = 0.0
        self._pressed = False

    def ack(self, message: MessageProxy) -> None:
        """Take note that a message is done; Redis learns it from the flusher. Unknown messages are ignored."""
        if isinstance(message, StreamMessage):
            self._broker.complete(message, failed=False)

    def nack(self, message: MessageProxy) -> None:
        """Take note that a message failed for good: it becomes a dead letter. Unknown messages are ignored."""
        if isinstance(message, StreamMessage):
            self._broker.complete(message, failed=True)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give messages that were not run back, visible to other workers at once."""
        entries = [message.entry for message in messages if isinstance(message, StreamMessage)]
        try:
            self._broker.give_back(self._queue, entries)
        except LINK_ERRORS as error:
            raise ConnectionClosed(error) from error

    def close(self) -> None:
        """Give back what was fetched and not handed on, and flush; where Redis is silent the broker carries it on."""
        waiting = [*self._buffer, *self._broker.suspects.leave(self._queue)]
        self._buffer.clear()
        if waiting:
            try:
                self._broker.give_back(self._queue, [message.entry for message in waiting])
            except (*LINK_ERRORS, ResponseError):
                self._queue.carried.extend(waiting)
                return
        # While flushing fails, waiting would only delay the next consumer; the broker's own close waits in any case.
        if not self._broker.flusher.failing:
            self._broker.flush_acknowledgements()

    def __next__(self) -> StreamMessage | None:
        """Return the next message, or None when none came within the timeout; raises ConnectionClosed."""
        try:
            if not self._buffer:
                self._fill()
            return self._hand_on()
        except (*LINK_ERRORS, ResponseError) as error:
            raise ConnectionClosed(error) from error

    def _hand_on(self) -> StreamMessage | None:
        while self._buffer:
            message = self._buffer.popleft()
            if not message.entry.lost:
                return message
            self._queue.release([message.entry])
        return None

    def _fill(self) -> None:
        broker = self._broker
        broker.raise_failure()
        now = time.monotonic()
        if self._must_pause(now):
            self._wait_for_room(self._timeout_s)
            return
        if broker.suspects.busy():
            self._take_suspect()
            return
        if now >= self._claim_at:
            self._claim_at = now + CLAIM_EVERY_S * random.uniform(0.5, 1.5)  # noqa: S311  spreads load, guards nothing
            self._look_for_abandoned()
        room = self._room()
        if not room:
            self._wait_for_room(self._timeout_s)
        elif self._abandoned or self._suspected:
            self._claim(room)
        else:
            self._read(room, now)

    def _room(self) -> int:
        """Return how many more entries may be held, after giving the threads a moment to make it worth a read."""
        queue = self._queue
        bound = queue.prefetch(self._prefetch, self._broker.prefetch_max)
        room = bound - len(queue.held)
        if room * 2 < bound:
            # A short prefetch is drained within a flusher's window: then the flusher must not wait for the end of it.
            if bound <= self._prefetch:
                self._broker.flusher.hurry()
            timeout_s = GATHER_S if room else self._timeout_s
            with queue.room:
                queue.room.wait_for(lambda: (bound - len(queue.held)) * 2 >= bound, timeout_s)
            room = bound - len(queue.held)
        return max(room, 0)

    def _wait_for_room(self, timeout_s: float) -> None:
        with self._queue.room:
            self._queue.room.wait(timeout_s)

    def _must_pause(self, now: float) -> bool:
        """Say whether finishing needs the room that starting would take; asked of Redis four times a second."""
        if self._queue.lost_event is None:
            return False
        if now >= self._pressure_at:
            self._pressure_at = now + PRESSURE_EVERY_S
            self._pressed = self._broker.pressed(self._queue)
        return self._pressed

    def _read(self, room: int, now: float) -> None:
        names = self._queue.keys
        commands: list[Command] = []
        if now >= self._due_at:
            self._due_at = now + DUE_EVERY_S
            commands.append(("EVALSHA", scripts.DUE.sha, 2, names.delayed, names.jobs, DUE_COUNT_MAX))
        block_ms = max(1, min(BLOCK_MS_MAX, int(self._timeout_s * 1000)))
        consumer = self._broker.consumer_name
        read = ("XREADGROUP", "GROUP", names.group, consumer, "COUNT", room, "BLOCK", block_ms)
        commands.append((*read, "STREAMS", names.jobs, ">"))
        commands.append(("SCARD", names.canceled))
        *due, reply, canceled = self._broker.link.run(commands)
        if isinstance(reply, ResponseError):
            self._recover(reply)
        else:
            self._admit(replies.read_entries(reply), suspect=False)
        # Any other error (no memory for the move) must not keep what is there from being worked off.
        if due and isinstance(due[0], NoScriptError):
            self._broker.link.script(scripts.DUE, (names.delayed, names.jobs), DUE_COUNT_MAX)
        if self._buffer and replies.integer(checked(canceled)):
            self._broker.ask_canceled(self._queue)

    def _recover(self, error: ResponseError) -> None:
        """Make the group where it is missing: at the first read, after FLUSHALL, after the stream was deleted."""
        if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
            raise error
        self._broker.make_group(self._queue)

    def _admit(self, found: list[replies.StreamEntry], *, suspect: bool) -> None:
        for raw in found:
            message = self._broker.admit(self._queue, raw, suspect=suspect)
            if message is not None:
                self._keep(message)

    def _keep(self, message: StreamMessage) -> None:
        if message.entry.suspect:
            self._broker.suspects.add(message)
        else:
            self._buffer.append(message)

    def _look_for_abandoned(self) -> None:
        """Note what its owner has let lie; it is taken over as room allows, before anything new is read."""
        queue, names = self._queue, self._queue.keys
        idle_ms = self._broker.claim_idle_ms
        command = ("XPENDING", names.jobs, names.group, "IDLE", idle_ms, "-", "+", PENDING_COUNT_MAX)
        reply = self._broker.link.run([command])[0]
        if isinstance(reply, ResponseError):
            self._recover(reply)
            return
        idle = [row for row in replies.pending(reply) if row.entry_id not in queue.held]
        self._abandoned = deque(row.entry_id for row in idle if row.deliveries + 1 < SUSPECT_DELIVERIES)
        self._suspected = deque(row.entry_id for row in idle if row.deliveries + 1 >= SUSPECT_DELIVERIES)

    def _claim(self, room: int) -> None:
        """Take over the abandoned: the unsuspected as far as there is room, then the suspects one at a time."""
        if self._abandoned:
            ids = [self._abandoned.popleft() for _ in range(min(room, len(self._abandoned)))]
            self._admit(self._broker.claim(self._queue, ids), suspect=False)
        elif self._suspected:
            self._admit(self._broker.claim(self._queue, [self._suspected.popleft()]), suspect=True)

    def _take_suspect(self) -> None:
        """Hand on one suspect when this process holds nothing else; until then nothing new is read."""
        message = self._broker.suspects.next_alone(self._queue)
        if message is None:
            self._wait_for_room(min(self._timeout_s, GATHER_S * 5))
        elif self._broker.is_poison(message.entry):
            self._broker.bury(message, "poison")
        else:
            self._buffer.append(message)
