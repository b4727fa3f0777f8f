"""What the broker holds: entries delivered to this process and not yet acknowledged in Redis.

The broker owns them, not the consumer, so they survive a consumer restart. An entry leaves `held` only when Redis has
confirmed its end, when it was given back, or when another worker took it over.
"""

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
from dramatiq.broker import MessageProxy
from dramatiq.errors import DecodeError
from dramatiq.message import Message, get_encoder

from workers import keys

# What the threads finish in this time is fetched ahead: long enough to hide a round trip and a flush window a hundred
# times over, short enough that a killed worker's buffer is small.
PREFETCH_AHEAD_S: Final = 0.1
RATE_SAMPLE_S: Final = 0.05
RATE_WEIGHT: Final = 0.3
CAST_ID_BYTES: Final = 16

AnyMessage: TypeAlias = Message[object]
LostEvent: TypeAlias = Callable[[AnyMessage, str], bytes]
"""Makes the usage event of a message that ended without a report. The reason is one of `poison`, `canceled`,
`skipped`, `failed`, `lost`. It raises when the message cannot be understood; then only a dead letter is left."""


_FIELDS: Final = frozenset(field.name for field in dataclasses.fields(Message))


def decode_fields(body: bytes) -> dict[str, Any]:
    """Return the fields of the message that the process-wide encoder reads, all of Dramatiq's.

    DecodeError when it reads none or one Dramatiq trips over.
    """
    try:
        fields = get_encoder().decode(body)
        if fields.keys() != _FIELDS:
            fields = Message[object](**fields).asdict()  # which names what is missing, and knows what may be
        fields["args"] = tuple(fields["args"])
    except Exception as error:
        reason = "Failed to decode message."
        raise DecodeError(reason, body, error) from error
    is_sound = (
        isinstance(fields["queue_name"], str)
        and isinstance(fields["actor_name"], str)
        and isinstance(fields["message_id"], str)
        and isinstance(fields["options"], dict)
        and isinstance(fields["kwargs"], dict)
    )
    if not is_sound:
        reason = "The message's fields have the wrong types."
        raise DecodeError(reason, body, None)
    return fields


class Entry:
    """One delivered entry. Flags are written by one thread each and only ever go from False to True."""

    __slots__ = (
        "beside",
        "body",
        "canceled",
        "cast",
        "entry_id",
        "finished",
        "lost",
        "message_id",
        "output",
        "queue",
        "report",
        "retry",
        "running",
        "skipped",
        "suspect",
    )

    def __init__(self, queue: "QueueState", entry_id: bytes, body: bytes, *, suspect: bool) -> None:
        self.queue = queue
        self.entry_id = entry_id
        self.body = body
        self.suspect = suspect
        """Delivered often enough that it may be what kills workers."""
        self.message_id = ""
        self.cast: UUID | None = None
        self.running = False
        self.finished = False
        """A worker thread is done with it, or it was given back; what is said about it now is ignored."""
        self.lost = False
        """Another worker owns it now; it must not start here."""
        self.canceled = False
        self.skipped = False
        self.beside = False
        """Its input lies beside the stream."""
        self.report: bytes | None = None
        self.output: bytes | None = None
        self.retry: tuple[int, bytes] | None = None
        """Delay in ms and the nonce followed by the copy to run again."""

    def cast_id_bytes(self) -> bytes:
        """Return the 16 bytes of the id, without the price of a UUID. ValueError when it is not one."""
        raw = bytes.fromhex(self.message_id.replace("-", ""))
        if len(raw) != CAST_ID_BYTES:
            message = f"a cast id has {CAST_ID_BYTES} bytes, not {len(raw)}"
            raise ValueError(message)
        return raw

    def cast_id(self) -> UUID:
        """Return the cast this is; on a metered queue the message id is the cast id. ValueError when it is not one."""
        if self.cast is None:
            self.cast = UUID(self.message_id)
        return self.cast


class Completion:
    """How one entry ends in Redis: all of it in one MULTI with its acknowledgement. Without an entry, just an event."""

    __slots__ = ("dead_reason", "entry", "output", "queue", "retry", "usage")

    def __init__(self, queue: "QueueState", entry: Entry | None = None) -> None:
        self.queue = queue
        self.entry = entry
        self.usage: bytes | None = None
        self.output: bytes | None = None
        self.retry: tuple[int, bytes] | None = None
        self.dead_reason: str | None = None

    def size_bytes(self) -> int:
        """Return about how much this sends to Redis."""
        size = len(self.usage or b"") + len(self.output or b"")
        if self.retry is not None:
            size += len(self.retry[1])
        if self.dead_reason is not None and self.entry is not None:
            size += len(self.entry.body)
        return size


class StreamMessage(MessageProxy):
    """A message with the entry it came from; it takes the decoded fields for its own.

    They are its attributes, so that reading one costs no indirection; Dramatiq's frozen message is made when asked for.
    """

    def __init__(self, fields: dict[str, Any], entry: Entry) -> None:
        self.__dict__ = fields
        self.failed = False
        self._exception: BaseException | None = None
        self.entry = entry

    @cached_property
    def message(self) -> AnyMessage:
        """The same as Dramatiq's message; the two share their options."""
        return Message(**{name: self.__dict__[name] for name in _FIELDS})

    @property
    def _message(self) -> AnyMessage:
        return self.message


class MeteredMessage(StreamMessage):
    """A message of a metered queue. Dramatiq logs messages, and what callers sent does not belong in a log."""

    def __str__(self) -> str:
        return f"{self.actor_name}[{self.message_id}]"

    def __repr__(self) -> str:
        return f"<MeteredMessage {self}>"


class QueueKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The Redis names of one queue, spelled once."""

    jobs: str
    group: str
    delayed: str
    dead: str
    starts: str
    usage: str
    canceled: str
    workers: str
    worker_facts: str

    @classmethod
    def of(cls, queue: str, shard: int) -> "QueueKeys":
        """Return the names of a queue."""
        return cls(
            jobs=keys.jobs(queue, shard),
            group=keys.jobs_group(),
            delayed=keys.delayed(queue, shard),
            dead=keys.dead(queue, shard),
            starts=keys.starts(queue, shard),
            usage=keys.usage(queue, shard),
            canceled=keys.canceled(queue, shard),
            workers=keys.workers(queue, shard),
            worker_facts=keys.worker_facts(queue, shard),
        )


class QueueState:
    """One declared queue: its names, what is held of it, and how fast it drains."""

    def __init__(self, name: str, shard: int, lost_event: LostEvent | None) -> None:
        self.name = name
        self.shard = shard
        self.keys = QueueKeys.of(name, shard)
        self.lost_event = lost_event
        """None: an ordinary Dramatiq queue, nothing is metered."""
        self.held: dict[bytes, Entry] = {}
        self.carried: deque[StreamMessage] = deque()
        """Fetched by a consumer that ended before it could hand them on or give them back."""
        self.room = threading.Condition()
        """Notified when something left `held`."""
        self.ended = 0
        self._rate = 0.0
        self._rate_at = time.monotonic()
        self._rate_ended = 0

    def holds(self, entry: Entry) -> bool:
        """Say whether an entry is what its id means: after FLUSHALL the same id may come again for another message."""
        return self.held.get(entry.entry_id) is entry

    def release(self, entries: Sequence[Entry]) -> None:
        """Forget entries whose end Redis has confirmed, and wake who waits for room."""
        for entry in entries:
            entry.finished = True
            self.ended += 1
            if self.holds(entry):
                del self.held[entry.entry_id]
        with self.room:
            self.room.notify_all()

    def prefetch(self, floor: int, ceiling: int) -> int:
        """Return how many entries may be held now: what drains in PREFETCH_AHEAD_S, within the bounds."""
        now = time.monotonic()
        elapsed = now - self._rate_at
        if elapsed >= RATE_SAMPLE_S:
            sample = (self.ended - self._rate_ended) / elapsed
            self._rate += RATE_WEIGHT * (sample - self._rate)
            self._rate_at, self._rate_ended = now, self.ended
        return max(floor, min(ceiling, int(self._rate * PREFETCH_AHEAD_S)))
