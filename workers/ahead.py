"""Which casts a worker thread sends to its child before it has read the answer of the one before.

Only what was short lately, and little of it: a cast behind another waits for it, and the child's parent promises that
none waits long (`workers.executor.parent`).
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

import msgspec

from domain.model.limits import KIB
from domain.model.messages import MESSAGE_VERSION, CastJob
from workers.broker.entries import StreamMessage
from workers.executor.parent import AHEAD_BYTES_MAX
from workers.executor.protocol import ExecuteRequest

# A batch costs the two switches that each cast used to cost; from sixteen on there is little left to gain.
AHEAD_COUNT_MAX: Final = 16
# What a batch may take by what its modules took lately; a cancel, or a cast that came later, waits no longer than this.
AHEAD_US_MAX: Final = 5_000
AHEAD_INPUT_BYTES_MAX: Final = 1 * KIB
assert AHEAD_COUNT_MAX * 2 * AHEAD_INPUT_BYTES_MAX <= AHEAD_BYTES_MAX, "a frame is less than twice such an input"
# A module that was slow once is taken for slow until so many fast casts outweigh it.
USUAL_WEIGHT: Final = 8
# Modules remembered; forgetting all of them costs each one cast that is sent alone.
USUAL_COUNT_MAX: Final = 4_096
# By then it has begun, or is not going to.
BEGUN_WITHIN_MS: Final = 100

_decode_job: Final = msgspec.msgpack.Decoder(CastJob).decode


class UsualTimes:
    """How long casts of a module took lately, in microseconds. Any thread may ask and note."""

    def __init__(self) -> None:
        self._usual_us: Final[dict[bytes, float]] = {}

    def of(self, digest: bytes) -> float:
        """Return what a cast of this module may take; of an unknown one, more than any batch."""
        return self._usual_us.get(digest, AHEAD_US_MAX)

    def note(self, digest: bytes, took_us: int) -> None:
        """Take note of a cast: a slower one counts at once, a faster one little by little."""
        usual_us = self._usual_us.get(digest, 0.0)
        if took_us < usual_us:
            self._usual_us[digest] = usual_us + (took_us - usual_us) / USUAL_WEIGHT
            return
        if len(self._usual_us) >= USUAL_COUNT_MAX:
            self._usual_us.clear()
        self._usual_us[digest] = took_us


class Reserving(Protocol):
    """The broker, as far as this needs it."""

    def reserve(self, wanted: Callable[[StreamMessage], bool], count_max: int) -> None:
        """Keep the next messages for this thread up to the first that is not wanted."""
        ...

    def give_back_reserved(self) -> None:
        """Let every thread have them."""
        ...


class BatchAhead:
    """The `Ahead` of one worker thread's executor."""

    def __init__(self, broker: Reserving, usual: UsualTimes) -> None:
        self._broker: Final = broker
        self._usual: Final = usual
        self._jobs: Final[dict[str, CastJob]] = {}

    def job(self, message: StreamMessage) -> CastJob | None:
        """Return the message's job where it was decoded to be sent ahead."""
        return self._jobs.pop(message.message_id, None)

    def take(self, first: ExecuteRequest) -> Sequence[ExecuteRequest]:
        """Reserve what comes next for this thread, as long as all of it together is short."""
        self._jobs.clear()
        requests: list[ExecuteRequest] = []
        left_us = AHEAD_US_MAX - self._usual.of(first.digest)
        if left_us <= 0:
            return requests
        begun_by_ms = time.time_ns() // 1_000_000 + BEGUN_WITHIN_MS

        def wanted(message: StreamMessage) -> bool:
            nonlocal left_us
            job = _small_job(message)
            if job is None or job.input is None or job.deadline_ms < begun_by_ms:
                return False
            left_us -= self._usual.of(job.digest)
            if left_us <= 0:
                return False
            self._jobs[message.message_id] = job
            requests.append(ExecuteRequest(cast_id=job.cast_id, digest=job.digest, limits=job.limits, input=job.input))
            return True

        self._broker.reserve(wanted, AHEAD_COUNT_MAX - 1)
        return requests

    def give_back(self) -> None:
        """Let other threads have what this one reserved."""
        self._jobs.clear()
        self._broker.give_back_reserved()


def _small_job(message: StreamMessage) -> CastJob | None:
    """Return the job of a message if it is one of ours, whole, and with a small input."""
    (body,) = cast("tuple[object, ...]", message.args) if len(message.args) == 1 else (None,)
    if not isinstance(body, bytes):
        return None
    try:
        job = _decode_job(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if job.v > MESSAGE_VERSION or job.input is None or len(job.input) > AHEAD_INPUT_BYTES_MAX:
        return None
    return job
