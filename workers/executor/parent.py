"""The worker's side of a jailed child: one `Executor` per worker thread.

The child is not trusted: every frame is bounded, every wait has an end, and whatever does not fit kills it. A cast that
loses its child fails alone; the next one gets a fresh child.

A thread and its child that wait for one another switch twice for each cast, which costs more than a short cast. So
short casts may be sent ahead, several at once (`Ahead`). The child runs them strictly one after the other and answers
each before it begins the next, so the first without an answer is the one that runs: it alone is timed, killed, or
blamed for the end of the child, and those behind it go to the next child as if they had never been sent. And a cast
that was sent ahead is either begun within BEGIN_WITHIN_SECONDS or not at all. While all is well the thread sleeps
until the whole batch is answered (`Child.await_bell`).
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol
from uuid import UUID

import msgspec

from domain.model.limits import INPUT_BYTES_MAX, KIB, MIB, UNITS_MAX, CastLimits
from domain.model.messages import Outcome
from workers.executor.process import (
    SHORT_BYTES_MAX,
    Child,
    ChildLostError,
    ExecutorConfig,
    ExecutorFacts,
    ExecutorStartError,
    framed,
)
from workers.executor.protocol import (
    MESSAGE_CHARACTERS_MAX,
    BatchFrame,
    CastFrame,
    ExecuteRequest,
    ExecuteResult,
    FrameTooLargeError,
)

# The child ends a guest by itself within a tick or a long host call; after this it is taken to be out of control.
OVERRUN_SECONDS: Final = 0.5
# Python, engine and the loaded artifacts; a guest's memory is unmapped by the time this is looked at.
RESIDENT_BYTES_MAX: Final = 768 * MIB
# A cast that was sent ahead waits this long at most behind one that turns out to be slow: less than anybody notices,
# and many times what short casts take while the machine is busy.
BEGIN_WITHIN_SECONDS: Final = 0.05
# After this it is certain that none behind the running one begins.
_LATE_SECONDS: Final = BEGIN_WITHIN_SECONDS + 0.001
# An answer that is there already, but not read yet.
_AT_ONCE_SECONDS: Final = 0.001

_decode_result: Final = msgspec.msgpack.Decoder(ExecuteResult).decode


class Ahead(Protocol):
    """Knows which casts come next in the thread that calls `Executor.run`."""

    def take(self, first: ExecuteRequest) -> Sequence[ExecuteRequest]:
        """Return the casts that `run` will be called with after `first`, in this order, of AHEAD_BYTES_MAX together.

        Only casts that are usually short: they wait for each other.
        """
        ...

    def give_back(self) -> None:
        """Let others have those that were taken and not yet run: the one before them takes its time."""
        ...


# With the first cast's frame they fit into the socket at once, so neither side ever waits for the other to read.
AHEAD_BYTES_MAX: Final = SHORT_BYTES_MAX // 2
# The input of the first; a frame has a few hundred bytes more.
_FIRST_BYTES_MAX: Final = AHEAD_BYTES_MAX - 1 * KIB

_CANCELED: Final = ExecuteResult(outcome=Outcome.CANCELED, message="the cast was canceled")
# What a child may say about a cast. The rest is known to others: canceled, poison, deadline.
_CHILD_OUTCOMES: Final = frozenset(
    {
        *(Outcome.SUCCEEDED, Outcome.EXIT_NONZERO, Outcome.TRAP, Outcome.FUEL_EXHAUSTED, Outcome.MEMORY_EXCEEDED),
        *(Outcome.OUTPUT_TOO_LARGE, Outcome.WALL_TIME_EXCEEDED, Outcome.PLATFORM_ERROR),
    }
)


def _is_plausible(result: ExecuteResult, limits: CastLimits) -> bool:
    return (
        result.outcome in _CHILD_OUTCOMES
        and len(result.output) <= limits.output_bytes
        and len(result.log) <= limits.log_bytes
        and (result.fuel is None or 0 <= result.fuel <= limits.fuel)
        and 0 <= result.units <= UNITS_MAX
        and len(result.message) <= MESSAGE_CHARACTERS_MAX
    )


def _patience_seconds(limits: CastLimits) -> float:
    return limits.wall_ms / 1000 + OVERRUN_SECONDS


class Executor:
    """Runs casts one after the other in a jailed child. One thread calls `run`; any thread may call `kill`.

    A child lives at most as long as the thread that started it: the kernel kills it when that thread ends.
    """

    def __init__(self, config: ExecutorConfig, ahead: Ahead | None = None) -> None:
        """Begin without a child; `start` or the first `run` makes one."""
        self._config: Final = config
        self._ahead: Final = ahead
        self._encoder: Final = msgspec.msgpack.Encoder()
        self._lock: Final = threading.Lock()
        self._child: Child | None = None
        self._sent: Final[deque[UUID]] = deque()
        """What the present child was sent beyond the running cast, in order."""
        self._stale = 0
        """Answers that will still come and belong to nobody: NOT_BEGUN, each of them."""
        self._bell_due = False
        self._is_late = False
        """The batch sent last took longer than casts may wait for each other."""
        self._running: UUID | None = None
        self._canceled = False
        self._closed = False
        self.child_deaths = 0
        """How many children died or had to be killed while they ran a cast; cancellations do not count."""

    @property
    def child_pid(self) -> int | None:
        """The process id of the present child, for operators and tests."""
        child = self._child
        return None if child is None else child.process.pid

    def start(self) -> ExecutorFacts:
        """Bring a child up and return what it says about engine and jail; ExecutorStartError when it cannot."""
        return self._ready_child().greet()

    def run(self, request: ExecuteRequest) -> ExecuteResult:
        """Run one cast to its end, however it ends: nothing a guest or a child does raises."""
        with self._lock:
            self._running, self._canceled = request.cast_id, False
        try:
            return self._run(request)
        except ExecutorStartError as error:
            if self._canceled:
                return _CANCELED
            return ExecuteResult(outcome=Outcome.PLATFORM_ERROR, message=str(error)[:MESSAGE_CHARACTERS_MAX])
        finally:
            with self._lock:
                self._running = None
                child = self._child
            # A kill that came too late for this cast must not look like the fault of the next.
            if self._closed or (child is not None and child.killed):
                self._discard()

    def kill(self, cast_id: UUID) -> bool:
        """End this cast as `canceled` if it is the one running; tells whether it was."""
        with self._lock:
            if self._running != cast_id:
                return False
            self._canceled = True
            if self._child is not None:
                self._child.kill()
            return True

    def close(self) -> None:
        """End the child for good; any thread may call it. A cast that is running ends as `sandbox_crashed`."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                # Its descriptors are in use by the thread in `run`, which cleans up as it leaves.
                if self._child is not None:
                    self._child.kill()
                return
        self._discard()

    def _discard(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        self._sent.clear()
        self._stale = 0
        self._bell_due = False
        if child is not None:
            child.end()

    def _ready_child(self) -> Child:
        child = self._child
        if child is not None and child.process.poll() is not None:
            self._discard()
            child = None
        if child is None:
            child = self._spawn()
        try:
            child.greet()
        except ExecutorStartError:
            self._discard()
            raise
        return child

    def _spawn(self) -> Child:
        if self._closed:
            message = "the executor was closed"
            raise ExecutorStartError(message)
        try:
            child = Child(self._config, _LATE_SECONDS)
        except OSError as error:
            message = f"the executor's child cannot be started: {error}"
            raise ExecutorStartError(message) from error
        with self._lock:
            self._child = child
            if self._closed:
                # Whoever closed a moment ago found no child to kill.
                child.kill()
        return child

    def _run(self, request: ExecuteRequest) -> ExecuteResult:
        started = time.monotonic()
        try:
            if not self._was_sent(request):
                refusal = self._send(request)
                if refusal is not None:
                    return refusal
            result = self._answer(request)
        except ChildLostError as lost:
            return self._lost(lost, started)
        child = self._child
        if not self._sent and child is not None and child.resident_bytes() > RESIDENT_BYTES_MAX:
            self._discard()
        return result

    def _was_sent(self, request: ExecuteRequest) -> bool:
        """Tell whether this cast is the next that the child answers."""
        while self._sent:
            if self._sent.popleft() == request.cast_id:
                return True
            # Nobody wants that one any more: it was canceled, or another worker took it over.
            self._drop_answers(1)
        return False

    def _drop_answers(self, count: int) -> None:
        """Read answers that belong to nobody; a child that has none to give soon is replaced."""
        child = self._child
        if child is None:
            return
        try:
            for _ in range(count):
                child.receive(BEGIN_WITHIN_SECONDS)
        except (TimeoutError, EOFError, OSError, FrameTooLargeError):
            self._discard()

    def _drop_stale(self) -> None:
        stale, self._stale = self._stale, 0
        self._drop_answers(stale)

    def _frame(self, requests: Sequence[ExecuteRequest], begin_by_ns: int = 0) -> bytes:
        casts = tuple(CastFrame(digest=one.digest, limits=one.limits, input=one.input) for one in requests)
        return framed(self._encoder.encode(BatchFrame(casts=casts, begin_by_ns=begin_by_ns)))

    def _send(self, request: ExecuteRequest) -> ExecuteResult | None:
        """Send the cast and those that may follow it; return how it ended if it is not to be run."""
        input_bytes = len(request.input)
        if input_bytes > INPUT_BYTES_MAX:
            message = f"the input has {input_bytes} bytes, at most {INPUT_BYTES_MAX} are allowed"
            return ExecuteResult(outcome=Outcome.PLATFORM_ERROR, message=message)
        self._drop_stale()
        child = self._ready_child()
        # Whoever cancels from here on kills this child, and `_answer` notices.
        if self._canceled:
            return _CANCELED
        behind = self._ahead.take(request) if self._ahead is not None and input_bytes <= _FIRST_BYTES_MAX else ()
        wall_ms, begin_by_ns = request.limits.wall_ms, 0
        if behind:
            begin_by_ns = time.monotonic_ns() + int(BEGIN_WITHIN_SECONDS * 1e9)
            self._sent.extend(one.cast_id for one in behind)
            wall_ms = max(wall_ms, *(one.limits.wall_ms for one in behind))
            self._bell_due = True
            child.expect_bell()
        frame = self._frame((request, *behind), begin_by_ns)
        assert not behind or len(frame) <= SHORT_BYTES_MAX, "whoever takes ahead keeps to AHEAD_BYTES_MAX"
        try:
            child.limit_cpu(wall_ms)
            child.send(frame, _patience_seconds(request.limits))
        except TimeoutError as error:
            raise _overran(request.limits) from error
        except OSError as error:
            raise child.death() from error
        return None

    def _answer(self, request: ExecuteRequest) -> ExecuteResult:
        """Return what the child says. ChildLostError when it cannot run another cast."""
        child = self._child
        assert child is not None, "only `run` takes a child away while a cast runs"
        try:
            frame = self._receive(child, request.limits)
            if not frame:  # NOT_BEGUN
                frame = self._begin_again(child, request)
            result = _decode_result(frame)
            if not self._sent and not self._stale:
                child.expect_silence()
        except TimeoutError as error:
            raise _overran(request.limits) from error
        except FrameTooLargeError as error:
            raise ChildLostError(Outcome.SANDBOX_CRASHED, f"the sandbox answered too much ({error})") from error
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ChildLostError(Outcome.SANDBOX_CRASHED, "the sandbox answered nonsense") from error
        except (EOFError, OSError) as error:
            raise child.death() from error
        if not _is_plausible(result, request.limits):
            raise ChildLostError(Outcome.SANDBOX_CRASHED, "the sandbox claimed more than its limits allow")
        return result

    def _receive(self, child: Child, limits: CastLimits) -> bytearray:
        """Wait for the answer; casts behind one that is slow are given back as soon as they cannot begin any more.

        That is certain when there is no answer after `begin_by_ns`: the child looks at the clock after it answered.
        """
        patience_seconds = _patience_seconds(limits)
        if self._sent:
            if self._bell_due:
                self._bell_due = False
                self._is_late = not child.await_bell()
            try:
                return child.receive(_AT_ONCE_SECONDS if self._is_late else _LATE_SECONDS)
            except TimeoutError:
                self._give_back()
                patience_seconds -= _LATE_SECONDS
        return child.receive(patience_seconds)

    def _give_back(self) -> None:
        self._stale += len(self._sent)
        self._sent.clear()
        assert self._ahead is not None, "nothing else sends ahead"
        self._ahead.give_back()

    def _begin_again(self, child: Child, request: ExecuteRequest) -> bytearray:
        """Run a cast whose turn came too late, so those behind it came too late as well."""
        if self._sent:
            self._give_back()
        for _ in range(self._stale):
            child.receive(_LATE_SECONDS)
        self._stale = 0
        patience_seconds = _patience_seconds(request.limits)
        child.send(self._frame((request,)), patience_seconds)
        return child.receive(patience_seconds)

    def _lost(self, lost: ChildLostError, started: float) -> ExecuteResult:
        """Replace the child, beginning now, and say what became of the cast."""
        with self._lock:
            canceled = self._canceled
        self._discard()
        if not canceled and not self._closed:
            self.child_deaths += 1
        # When even that fails, the next cast will say so; this one has its own end.
        with contextlib.suppress(ExecutorStartError):
            self._spawn()
        wall_us = int((time.monotonic() - started) * 1_000_000)
        if canceled:
            return msgspec.structs.replace(_CANCELED, wall_us=wall_us)
        return ExecuteResult(outcome=lost.outcome, wall_us=wall_us, message=lost.message)


def _overran(limits: CastLimits) -> ChildLostError:
    message = f"the module ran longer than its limit of {limits.wall_ms} ms and was killed"
    return ChildLostError(Outcome.WALL_TIME_EXCEEDED, message)
