"""The worker's side of a jailed child: one `Executor` per worker thread.

The child is not trusted: every frame is bounded, every wait has an end, and whatever does not fit kills it. A cast that
loses its child fails alone; the next one gets a fresh child.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

import workers
from domain.model.limits import INPUT_BYTES_MAX, KIB, MIB, CastLimits
from domain.model.messages import Outcome
from workers.executor.protocol import (
    ANSWER_BYTES_MAX,
    LENGTH_PREFIX,
    MESSAGE_CHARACTERS_MAX,
    REQUEST_BYTES_MAX,
    CastFrame,
    ChildConfig,
    ChildReady,
    ExecuteRequest,
    ExecuteResult,
    FrameTooLargeError,
    JailLayer,
    JailMode,
    cpu_seconds_limit,
)

# Importing Python, the engine and the cryptography takes half a second; a loaded machine may need twenty times that.
START_SECONDS_MAX: Final = 20.0
# The child ends a guest by itself within a tick or a long host call; after this it is taken to be out of control.
OVERRUN_SECONDS: Final = 0.5
# Python, engine and the loaded artifacts; a guest's memory is unmapped by the time this is looked at.
RESIDENT_BYTES_MAX: Final = 768 * MIB

_READ_BYTES: Final = 1 * MIB
# A buffer of a mebibyte is mapped and unmapped for every cast; this one comes from the heap and holds most answers.
_FIRST_READ_BYTES: Final = 16 * KIB
_decode_result: Final = msgspec.msgpack.Decoder(ExecuteResult).decode
_CAP_SYS_RESOURCE: Final = 24
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_SOURCE_ROOT: Final = Path(workers.__file__).resolve().parent.parent


class ExecutorStartError(Exception):
    """A child did not come up; the message is its own, when it could still speak."""


class ExecutorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What every child of a worker gets."""

    artifact_folder: Path
    """Where `ArtifactCache` keeps artifacts; must exist, and be readable by anybody when the worker runs as root."""
    verify_key: str
    jail: JailMode = JailMode.REQUIRED


class ExecutorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a child said about itself when it came up, for heartbeats and `/readyz`."""

    engine_version: str
    engine_key: str
    jail: tuple[JailLayer, ...]


class _ChildLostError(Exception):
    """The child is gone or must go; `outcome` and `message` are the cast's."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome: Final = outcome
        self.message: Final = message


_CANCELED: Final = ExecuteResult(outcome=Outcome.CANCELED, message="the cast was canceled")
# What a child may say about a cast. The rest is known to others: canceled, poison, deadline.
_CHILD_OUTCOMES: Final = frozenset(
    {
        *(Outcome.SUCCEEDED, Outcome.EXIT_NONZERO, Outcome.TRAP, Outcome.FUEL_EXHAUSTED, Outcome.MEMORY_EXCEEDED),
        *(Outcome.OUTPUT_TOO_LARGE, Outcome.WALL_TIME_EXCEEDED, Outcome.PLATFORM_ERROR),
    }
)


def _may_move_limits() -> bool:
    """Tell whether this process may change a limit of a child that has become another user (or stays this one)."""
    if os.geteuid() != 0:
        return True
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def _start_process(descriptor: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 # our own program, no shell, nothing of a caller's
        [sys.executable, "-m", "workers.executor", str(descriptor)],
        pass_fds=(descriptor,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=_SOURCE_ROOT,
        env={},
    )


class _Child:
    """One process and the socket to it."""

    def __init__(self, config: ExecutorConfig) -> None:
        """Start the process and send it its configuration; it comes up while we do other things."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                self.process: Final = _start_process(theirs.fileno())
            except OSError:
                self._socket.close()
                raise
        self._timeout_seconds = -1.0
        self._cpu_clock: Final = (~self.process.pid << 3) | 2
        self._cpu_seconds_limit = 0
        self._child_moves_cpu_limit: Final = not _may_move_limits()
        self._statm: Final = os.open(f"/proc/{self.process.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self.facts: ExecutorFacts | None = None
        self._ended = False
        first = ChildConfig(
            artifact_folder=str(config.artifact_folder.resolve()),
            verify_key=config.verify_key,
            jail=config.jail,
            parent_pid=os.getpid(),
            moves_cpu_limit=self._child_moves_cpu_limit,
        )
        # A child that is gone already shows in `greet`.
        with contextlib.suppress(BrokenPipeError):
            self._wait_at_most(START_SECONDS_MAX)
            self._send(msgspec.msgpack.encode(first))

    def _wait_at_most(self, seconds: float) -> None:
        """Bound each wait on the socket; the same bound again costs no system call."""
        if seconds != self._timeout_seconds:
            self._timeout_seconds = seconds
            self._socket.settimeout(seconds)

    def _send(self, frame: bytes) -> None:
        self._socket.sendall(LENGTH_PREFIX.pack(len(frame)) + frame)

    def _receive(self, deadline: float) -> bytes:
        """Return one frame. TimeoutError about the deadline, EOFError when the child is gone."""
        data = bytearray()
        needed = LENGTH_PREFIX.size
        while len(data) < needed:
            # Most frames come in one small piece; a child that drips its frame is held to what is left of its time.
            if data:
                self._wait_at_most(max(deadline - time.monotonic(), 0.001))
            piece = self._socket.recv(_READ_BYTES if data else _FIRST_READ_BYTES)
            if not piece:
                raise EOFError
            data += piece
            if needed == LENGTH_PREFIX.size and len(data) >= needed:
                length = LENGTH_PREFIX.unpack_from(data)[0]
                if length > ANSWER_BYTES_MAX:
                    raise FrameTooLargeError(length)
                needed += length
        if len(data) > needed:
            raise FrameTooLargeError(len(data))
        return bytes(memoryview(data)[LENGTH_PREFIX.size :])

    def greet(self) -> ExecutorFacts:
        """Wait until the child is up, once. ExecutorStartError when it is not coming."""
        if self.facts is None:
            try:
                frame = self._receive(time.monotonic() + START_SECONDS_MAX)
                ready = msgspec.msgpack.decode(frame, type=ChildReady)
            except (EOFError, OSError, FrameTooLargeError, msgspec.DecodeError) as error:
                code = self.end()
                message = f"the executor's child did not come up ({type(error).__name__}, exit code {code})"
                raise ExecutorStartError(message) from error
            if ready.error:
                self.end()
                raise ExecutorStartError(ready.error)
            self.facts = ExecutorFacts(
                engine_version=ready.engine_version,
                engine_key=ready.engine_key,
                jail=ready.jail,
            )
        return self.facts

    def _limit_cpu(self, wall_ms: int) -> None:
        """Move RLIMIT_CPU, which counts the whole life of the process, to what is used, this cast, and a second.

        Only the soft limit: a hard one cannot be raised again without privileges, and the child may not raise its own.
        """
        if self._child_moves_cpu_limit:
            return
        limit = cpu_seconds_limit(time.clock_gettime(self._cpu_clock), wall_ms)
        if limit != self._cpu_seconds_limit:
            resource.prlimit(self.process.pid, resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            self._cpu_seconds_limit = limit

    def run(self, frame: bytes, limits: CastLimits) -> ExecuteResult:
        """Run one cast. _ChildLostError when this child cannot run another."""
        patience = limits.wall_ms / 1000 + OVERRUN_SECONDS
        deadline = time.monotonic() + patience
        try:
            self._limit_cpu(limits.wall_ms)
            self._wait_at_most(patience)
            self._send(frame)
            result = _decode_result(self._receive(deadline))
        except TimeoutError as error:
            message = f"the module ran longer than its limit of {limits.wall_ms} ms and was killed"
            raise _ChildLostError(Outcome.WALL_TIME_EXCEEDED, message) from error
        except FrameTooLargeError as error:
            raise _ChildLostError(Outcome.SANDBOX_CRASHED, f"the sandbox answered too much ({error})") from error
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise _ChildLostError(Outcome.SANDBOX_CRASHED, "the sandbox answered nonsense") from error
        except (EOFError, OSError) as error:
            raise self._death() from error
        if not _is_plausible(result, limits):
            raise _ChildLostError(Outcome.SANDBOX_CRASHED, "the sandbox claimed more than its limits allow")
        return result

    def _death(self) -> _ChildLostError:
        code = self.end()
        if code == -signal.SIGXCPU:
            return _ChildLostError(Outcome.WALL_TIME_EXCEEDED, "the module used more CPU time than its limit allows")
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return _ChildLostError(Outcome.SANDBOX_CRASHED, f"the sandbox process died ({how})")

    def resident_bytes(self) -> int:
        """Return what the process holds in memory now, 0 when it has just died."""
        try:
            return int(os.pread(self._statm, 128, 0).split()[1]) * _PAGE_BYTES
        except ProcessLookupError:
            return 0

    def end(self) -> int:
        """Kill the process if it lives and return its exit code; may be called twice."""
        self.process.kill()
        code = self.process.wait()
        if not self._ended:
            self._ended = True
            self._socket.close()
            os.close(self._statm)
        return code


def _is_plausible(result: ExecuteResult, limits: CastLimits) -> bool:
    return (
        result.outcome in _CHILD_OUTCOMES
        and len(result.output) <= limits.output_bytes
        and len(result.log) <= limits.log_bytes
        and (result.fuel is None or 0 <= result.fuel <= limits.fuel)
        and len(result.message) <= MESSAGE_CHARACTERS_MAX
    )


class Executor:
    """Runs casts one after the other in a jailed child. One thread calls `run`; any thread may call `kill`.

    A child lives at most as long as the thread that started it: the kernel kills it when that thread ends.
    """

    def __init__(self, config: ExecutorConfig) -> None:
        """Begin without a child; `start` or the first `run` makes one."""
        self._config: Final = config
        self._encoder: Final = msgspec.msgpack.Encoder()
        self._lock: Final = threading.Lock()
        self._child: _Child | None = None
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
            if self._closed:
                self._discard()

    def kill(self, cast_id: UUID) -> bool:
        """End this cast as `canceled` if it is the one running; tells whether it was."""
        with self._lock:
            if self._running != cast_id:
                return False
            self._canceled = True
            if self._child is not None:
                self._child.process.kill()
            return True

    def close(self) -> None:
        """End the child for good; any thread may call it. A cast that is running ends as `sandbox_crashed`."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                # Its descriptors are in use by the thread in `run`, which cleans up as it leaves.
                if self._child is not None:
                    self._child.process.kill()
                return
        self._discard()

    def _discard(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.end()

    def _ready_child(self) -> _Child:
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

    def _spawn(self) -> _Child:
        if self._closed:
            message = "the executor was closed"
            raise ExecutorStartError(message)
        try:
            child = _Child(self._config)
        except OSError as error:
            message = f"the executor's child cannot be started: {error}"
            raise ExecutorStartError(message) from error
        with self._lock:
            self._child = child
            if self._closed:
                # Whoever closed a moment ago found no child to kill.
                child.process.kill()
        return child

    def _run(self, request: ExecuteRequest) -> ExecuteResult:
        frame = self._encoder.encode(CastFrame(digest=request.digest, limits=request.limits, input=request.input))
        if len(frame) > REQUEST_BYTES_MAX:
            message = f"the input has {len(request.input)} bytes, at most {INPUT_BYTES_MAX} are allowed"
            return ExecuteResult(outcome=Outcome.PLATFORM_ERROR, message=message)
        started = time.monotonic()
        child = self._ready_child()
        try:
            # Whoever cancels from here on kills this child, and `child.run` notices.
            result = None if self._canceled else child.run(frame, request.limits)
        except _ChildLostError as lost:
            return self._lost(lost, started)
        if result is None:
            return _CANCELED
        if child.resident_bytes() > RESIDENT_BYTES_MAX:
            self._discard()
        return result

    def _lost(self, lost: _ChildLostError, started: float) -> ExecuteResult:
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
