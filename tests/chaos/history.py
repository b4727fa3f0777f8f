"""What callers sent and saw, and what was done to the platform meanwhile. Times are seconds of this machine's clock."""

import threading
import time
from pathlib import Path
from uuid import UUID

import msgspec


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One cast that a caller asks for."""

    spell: str
    fuel: int
    outcomes: tuple[str, ...]
    """How this spell ends when nothing goes wrong around it: error codes, `succeeded` for none."""
    output_sha256: str | None = None
    """Of what it writes when it succeeds; None where that is not known beforehand."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """The limit a 402 names, as the caller read it."""

    id: UUID | None
    limit_micros: int
    spent_micros: int
    held_micros: int
    needed_micros: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says about one cast: either the cast, or the error."""

    status: int
    cast_id: UUID | None = None
    cast_status: str | None = None
    error_code: str | None = None
    cost_micros: int | None = None
    output_sha256: str | None = None
    refusal: str | None = None
    limit: Limit | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True, tag="call"):
    """One request and its answer. `status` None: no answer came, whatever was done."""

    number: int
    account_id: UUID
    key_id: UUID
    kind: str
    """cast, batch, read or cancel."""
    path: str
    api: int
    sent_at: float
    answered_at: float
    status: int | None
    error: str | None = None
    retry_after: str | None = None
    idempotency_key: str | None = None
    wanted: tuple[Wanted, ...] = ()
    seen: tuple[Seen, ...] = ()

    @property
    def accepted_ids(self) -> tuple[UUID, ...]:
        return tuple(one.cast_id for one in self.seen if one.cast_id is not None)


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """Something done to the platform; `ended_at` is when it was made good."""

    name: str
    detail: str
    began_at: float
    ended_at: float


class ClockMove(msgspec.Struct, frozen=True, kw_only=True, tag="clock"):
    """From `at` on Postgres' clock is `offset_seconds` ahead of ours; it was moved some time before that."""

    began_at: float
    at: float
    offset_seconds: float


class WireSample(msgspec.Struct, frozen=True, kw_only=True, tag="wire"):
    """How many entries the job streams had at some time between two instants."""

    began_at: float
    ended_at: float
    entries: int


Event = Call | Fault | ClockMove | WireSample


class History:
    """Grows while a run goes on. `add` may be called from any thread."""

    def __init__(self, events: list[Event] | None = None) -> None:
        self.events: list[Event] = events or []
        self._lock = threading.Lock()
        self._numbers = 0

    def number(self) -> int:
        """Return the number of the next call."""
        with self._lock:
            self._numbers += 1
            return self._numbers

    def add(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)

    @property
    def calls(self) -> list[Call]:
        return [event for event in self.events if isinstance(event, Call)]

    @property
    def faults(self) -> list[Fault]:
        return [event for event in self.events if isinstance(event, Fault)]

    @property
    def clock_moves(self) -> list[ClockMove]:
        return [event for event in self.events if isinstance(event, ClockMove)]

    @property
    def wire_samples(self) -> list[WireSample]:
        return [event for event in self.events if isinstance(event, WireSample)]

    def save(self, file: Path) -> None:
        """Write one JSON line for each event."""
        encode = msgspec.json.encode
        file.write_bytes(b"".join(encode(event) + b"\n" for event in self.events))


def load(file: Path) -> History:
    decoder = msgspec.json.Decoder(Event)
    return History([decoder.decode(line) for line in file.read_bytes().splitlines()])


def now() -> float:
    return time.time()
