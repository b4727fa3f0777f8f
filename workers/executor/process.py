"""One jailed child as its parent sees it: a process that is not trusted, and a socket with bounded frames.

Whatever does not fit raises; who uses this kills the child then.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

import workers
from domain.model.limits import KIB, MIB
from domain.model.messages import Outcome
from gateways.waiting import wait_at_most
from workers.executor.protocol import (
    ANSWER_BYTES_MAX,
    LENGTH_PREFIX,
    ChildConfig,
    ChildReady,
    FrameTooLargeError,
    JailLayer,
    JailMode,
    cpu_seconds_limit,
)

# Importing Python, the engine and the cryptography takes half a second; a loaded machine may need twenty times that.
START_SECONDS_MAX: Final = 20.0
# So much fits into the socket while the child reads nothing; what is longer is sent with a bound on the whole.
SHORT_BYTES_MAX: Final = 64 * KIB
# Two batches whose bell was not heard in time: the child rings after the last answer, and only then gets another one.
_RINGS_DUE_MAX: Final = 2

_unpack_length: Final = LENGTH_PREFIX.unpack_from
_PREFIX_BYTES: Final = LENGTH_PREFIX.size
_READ_BYTES: Final = 1 * MIB
# A buffer of a mebibyte is mapped and unmapped for every cast; this one comes from the heap and holds most answers.
_FIRST_READ_BYTES: Final = 16 * KIB
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


class ChildLostError(Exception):
    """The child is gone or must go; `outcome` and `message` are the cast's."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome: Final = outcome
        self.message: Final = message


def _may_move_limits() -> bool:
    """Tell whether this process may change a limit of a child that has become another user (or stays this one)."""
    if os.geteuid() != 0:
        return True
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return False


def framed(message: bytes) -> bytes:
    """Return a message with its length before it."""
    return LENGTH_PREFIX.pack(len(message)) + message


def _start_process(descriptor: int, bell: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 # our own program, no shell, nothing of a caller's
        [sys.executable, "-m", "workers.executor", str(descriptor)],
        pass_fds=(descriptor, bell),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=_SOURCE_ROOT,
        env={},
    )


class Child:
    """One process, the socket to it, and a second socket that is its bell.

    Who waits for each answer of a batch is woken for each; who waits for the bell, once.
    """

    def __init__(self, config: ExecutorConfig, bell_seconds: float) -> None:
        """Start the process and send it its configuration; it comes up while we do other things."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._bell, their_bell = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        bell = their_bell.fileno()
        with theirs, their_bell:
            try:
                self.process: Final = _start_process(theirs.fileno(), bell)
            except OSError:
                self._socket.close()
                self._bell.close()
                raise
        wait_at_most(self._bell, bell_seconds, socket.SO_RCVTIMEO)
        self._rings_due = 0
        self._timeouts_seconds: Final = {socket.SO_RCVTIMEO: -1.0, socket.SO_SNDTIMEO: -1.0}
        self._unread = bytearray()
        self._cpu_clock: Final = (~self.process.pid << 3) | 2
        self._cpu_seconds_limit = 0
        self._child_moves_cpu_limit: Final = not _may_move_limits()
        self._statm: Final = os.open(f"/proc/{self.process.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self.facts: ExecutorFacts | None = None
        self.killed = False
        """By `kill`: whatever it may still answer, it runs nothing any more."""
        self._ended = False
        first = ChildConfig(
            artifact_folder=str(config.artifact_folder.resolve()),
            verify_key=config.verify_key,
            jail=config.jail,
            parent_pid=os.getpid(),
            bell=bell,
            moves_cpu_limit=self._child_moves_cpu_limit,
        )
        # A child that is gone already shows in `greet`.
        with contextlib.suppress(BrokenPipeError):
            self.send(framed(msgspec.msgpack.encode(first)), START_SECONDS_MAX)

    def _wait_at_most(self, direction: int, seconds: float) -> None:
        """Bound each wait of a blocking call in the kernel: one system call a frame, not a poll before each."""
        if seconds != self._timeouts_seconds[direction]:
            self._timeouts_seconds[direction] = seconds
            wait_at_most(self._socket, seconds, direction)

    def send(self, frames: bytes, seconds: float) -> None:
        """Send frames with their lengths (`framed`) within a time; TimeoutError, and OSError when the child is gone."""
        if len(frames) > SHORT_BYTES_MAX:
            # A child that drips what it reads is held to the whole time, not to the time of each piece.
            self._socket.settimeout(seconds)
            self._socket.sendall(frames)
            self._socket.settimeout(None)
            return
        self._wait_at_most(socket.SO_SNDTIMEO, seconds)
        try:
            self._socket.sendall(frames)
        except BlockingIOError as error:
            raise TimeoutError from error

    def receive(self, seconds: float) -> bytearray:
        """Return one frame. TimeoutError when it is not here in time, EOFError when the child is gone."""
        frame = self._next_frame()
        if frame is not None:
            return frame
        deadline, wait_seconds, most = time.monotonic() + seconds, seconds, _FIRST_READ_BYTES
        while frame is None:
            self._wait_at_most(socket.SO_RCVTIMEO, wait_seconds)
            try:
                piece = self._socket.recv(most)
            except BlockingIOError as error:
                raise TimeoutError from error
            if not piece:
                raise EOFError
            self._unread += piece
            frame = self._next_frame()
            # Most frames come in one small piece; a child that drips its frame is held to what is left of its time.
            wait_seconds, most = deadline - time.monotonic(), _READ_BYTES
            if frame is None and wait_seconds <= 0:
                raise TimeoutError
            wait_seconds = max(wait_seconds, 0.001)
        return frame

    def expect_bell(self) -> None:
        """Take note that a batch was sent."""
        self._rings_due = min(self._rings_due + 1, _RINGS_DUE_MAX)

    def await_bell(self) -> bool:
        """Sleep until the child rings for the batch sent last; tells whether it did, within its time and at all."""
        while self._rings_due:
            try:
                rings = self._bell.recv(self._rings_due)
            except BlockingIOError:
                return False
            if not rings:
                return False
            self._rings_due -= len(rings)
        return True

    def _next_frame(self) -> bytearray | None:
        unread = self._unread
        if len(unread) < _PREFIX_BYTES:
            return None
        (length,) = _unpack_length(unread)
        if length > ANSWER_BYTES_MAX:
            raise FrameTooLargeError(length)
        end = _PREFIX_BYTES + length
        if len(unread) < end:
            return None
        frame = unread[_PREFIX_BYTES:end]
        del unread[:end]
        return frame

    def expect_silence(self) -> None:
        """Raise FrameTooLargeError when the child sent more than it was asked for."""
        if self._unread:
            raise FrameTooLargeError(len(self._unread))

    def greet(self) -> ExecutorFacts:
        """Wait until the child is up, once. ExecutorStartError when it is not coming."""
        if self.facts is None:
            try:
                frame = self.receive(START_SECONDS_MAX)
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

    def limit_cpu(self, wall_ms: int) -> None:
        """Move RLIMIT_CPU, which counts the whole life of the process, to what is used, this cast, and a second.

        Only the soft limit: a hard one cannot be raised again without privileges, and the child may not raise its own.
        """
        if self._child_moves_cpu_limit:
            return
        limit = cpu_seconds_limit(time.clock_gettime(self._cpu_clock), wall_ms)
        if limit != self._cpu_seconds_limit:
            resource.prlimit(self.process.pid, resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            self._cpu_seconds_limit = limit

    def death(self) -> ChildLostError:
        """Return what the end of the process means for the cast it ran."""
        code = self.end()
        if code == -signal.SIGXCPU:
            return ChildLostError(Outcome.WALL_TIME_EXCEEDED, "the module used more CPU time than its limit allows")
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return ChildLostError(Outcome.SANDBOX_CRASHED, f"the sandbox process died ({how})")

    def resident_bytes(self) -> int:
        """Return what the process holds in memory now, 0 when it has just died."""
        try:
            return int(os.pread(self._statm, 128, 0).split()[1]) * _PAGE_BYTES
        except ProcessLookupError:
            return 0

    def kill(self) -> None:
        """Kill the process; any thread may call it while another waits for an answer."""
        self.killed = True
        self.process.kill()

    def end(self) -> int:
        """Kill the process if it lives and return its exit code; may be called twice."""
        self.process.kill()
        code = self.process.wait()
        if not self._ended:
            self._ended = True
            self._socket.close()
            self._bell.close()
            os.close(self._statm)
        return code
