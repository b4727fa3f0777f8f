"""The jailed program: takes casts from its parent over one socket, runs them, answers. It knows nothing else.

One thread runs everything; a second only advances the epoch, because a signal handler of Python does not run while a
guest does. It leaves when the parent closes the socket, and is killed when the parent dies.
"""

import os
import resource
import threading
import time
from pathlib import Path
from typing import Final

import msgspec
import wasmtime

from domain.model.limits import KIB, MIB, CastLimits
from domain.model.messages import Outcome
from gateways.collector import collect_rarely
from gateways.signing import Verifier
from workers.executor.engine import EngineError, engine_version
from workers.executor.jail import ADDRESS_SPACE_BYTES_MAX, JailError, enter
from workers.executor.loader import ArtifactError, Loader
from workers.executor.protocol import (
    LENGTH_PREFIX,
    MESSAGE_CHARACTERS_MAX,
    NOT_BEGUN,
    REQUEST_BYTES_MAX,
    BatchFrame,
    CastFrame,
    ChildConfig,
    ChildReady,
    ExecuteResult,
    cpu_seconds_limit,
)
from workers.executor.sandbox import TICK_MS, Sandbox

_READ_BYTES: Final = 1 * MIB
# Answers that lie in the socket unread, and how long one may: a fourth of what the kernel has room for by default, and
# as long as a batch usually takes at most.
_UNREAD_BYTES_MAX: Final = 48 * KIB
_RING_AFTER_NS: Final = 5_000_000
_LOOK_EVERY_SECONDS: Final = 0.25

# One guest reads, writes, and traps; whatever Python and the engine do for the first time then, they do here, while
# there are files to read and modules to import.
_WARM_UP: Final = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\08\\00\\00\\00\\01\\00\\00\\00")
  (func (export "_start")
    (drop (call $random (i32.const 16) (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
    unreachable))
"""
_WARM_UP_LIMITS: Final = CastLimits(fuel=10_000, wall_ms=1_000, memory_bytes=1 * MIB, output_bytes=16, log_bytes=16)


class _Channel:
    """Frames over a blocking socket, with `read` and `write` alone: the only calls that seccomp leaves."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor
        self._unread = b""

    def receive(self) -> bytes | None:
        """Return the next frame, or None when the parent has gone."""
        data, prefix = self._unread, LENGTH_PREFIX.size
        while len(data) < prefix:
            more = os.read(self._descriptor, _READ_BYTES)
            if not more:
                return None
            data += more
        length = LENGTH_PREFIX.unpack_from(data)[0]
        assert length <= REQUEST_BYTES_MAX, "the parent bounds what it sends"
        end = prefix + length
        if len(data) < end:
            data = self._rest(data, end)
            if data is None:
                return None
        self._unread = data[end:]
        return data[prefix:end]

    def _rest(self, data: bytes, end: int) -> bytes | None:
        """Read on until there are `end` bytes: a long frame comes in pieces."""
        pieces, missing = [data], end - len(data)
        while missing > 0:
            piece = os.read(self._descriptor, _READ_BYTES)
            if not piece:
                return None
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def send(self, frame: bytes) -> None:
        """Send one frame whole."""
        data = LENGTH_PREFIX.pack(len(frame)) + frame
        sent = os.write(self._descriptor, data)
        while sent < len(data):
            sent += os.write(self._descriptor, memoryview(data)[sent:])


class _Bell:
    """Wakes the parent, which sleeps while a batch is answered: once for each batch.

    After the last answer; or before one that might not fit into the socket while nobody reads, or that comes so late
    that those before it should not wait any longer: from then on the parent waits for each answer by itself.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: Final = descriptor
        self._is_due = False
        self._bytes = 0
        self._ring_at_ns = 0

    def begin(self, count: int) -> None:
        """Take note of how many casts were sent together, before the first runs."""
        self._is_due, self._bytes = count > 1, 0
        self._ring_at_ns = time.monotonic_ns() + _RING_AFTER_NS

    def before(self, answer: bytes) -> None:
        """Ring when this answer should not wait for the rest."""
        if self._is_due:
            self._bytes += len(answer)
            if self._bytes > _UNREAD_BYTES_MAX or time.monotonic_ns() > self._ring_at_ns:
                self._ring()

    def end(self) -> None:
        """Ring when the last is answered."""
        if self._is_due:
            self._ring()

    def _ring(self) -> None:
        self._is_due = False
        os.write(self._descriptor, b"\0")


def _warm_up(sandbox: Sandbox) -> None:
    module = sandbox.compile(bytes(wasmtime.wat2wasm(_WARM_UP)), bytes(32))
    result = sandbox.run(module, b"warm", _WARM_UP_LIMITS)
    if result.outcome is not Outcome.TRAP or len(result.output) != 1:
        message = f"the warm-up guest ended as {result.outcome}: {result.message}"
        raise EngineError(message)
    msgspec.msgpack.encode(result)


def _start_ticker(sandbox: Sandbox) -> None:
    def tick() -> None:
        while True:
            time.sleep(TICK_MS / 1000)
            sandbox.tick()

    threading.Thread(target=tick, name="epoch", daemon=True).start()


def _close_standard_streams() -> None:
    """Point stdin, stdout and stderr at nothing: a guest's way out must not end in the worker's log."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _prepare(config: ChildConfig, descriptor: int) -> tuple[Loader, Sandbox, ChildReady]:
    """Import, warm up, lock the door."""
    sandbox = Sandbox()
    loader = Loader(sandbox, Verifier(config.verify_key))
    version = engine_version()
    _warm_up(sandbox)
    os.chdir(config.artifact_folder)
    collect_rarely()
    _close_standard_streams()
    layers = enter(
        config.jail,
        parent_pid=config.parent_pid,
        readable_folder=Path(),
        write_descriptors=(descriptor, config.bell),
        moves_cpu_limit=config.moves_cpu_limit,
        address_space_bytes=ADDRESS_SPACE_BYTES_MAX,
        start_threads=lambda: _start_ticker(sandbox),
    )
    return loader, sandbox, ChildReady(engine_version=version, engine_key=sandbox.key, jail=layers)


class _CpuLimit:
    """Moves RLIMIT_CPU before a cast, where the parent may not: it counts the whole life of the process."""

    def __init__(self) -> None:
        self._seconds = 0
        self._wall_ms = 0
        self._look_at = 0.0

    def follow(self, wall_ms: int) -> None:
        # Asking what was used costs as much as a host call or two. Two threads cannot use half a second in less than a
        # fourth of one, and the limit has a second to spare.
        now = time.monotonic()
        if wall_ms == self._wall_ms and now < self._look_at:
            return
        self._wall_ms, self._look_at = wall_ms, now + _LOOK_EVERY_SECONDS
        limit = cpu_seconds_limit(time.process_time(), wall_ms)
        if limit != self._seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            self._seconds = limit


class _Runner:
    """Runs casts and encodes their results."""

    def __init__(self, loader: Loader, sandbox: Sandbox, cpu_limit: _CpuLimit | None) -> None:
        self._loader: Final = loader
        self._sandbox: Final = sandbox
        self._cpu_limit: Final = cpu_limit
        self._encode: Final = msgspec.msgpack.Encoder().encode

    def answer(self, cast: CastFrame) -> bytes:
        """Run a cast and return the answer."""
        if self._cpu_limit is not None:
            self._cpu_limit.follow(cast.limits.wall_ms)
        try:
            module = self._loader.get(cast.digest)
        except ArtifactError as error:
            message = str(error)[:MESSAGE_CHARACTERS_MAX]
            return self._encode(ExecuteResult(outcome=Outcome.PLATFORM_ERROR, message=message))
        return self._encode(self._sandbox.run(module, cast.input, cast.limits))


def _answer_all(batch: BatchFrame, runner: _Runner, channel: _Channel, bell: _Bell) -> None:
    bell.begin(len(batch.casts))
    begin_by_ns = 0
    for cast in batch.casts:
        # The clock is looked at after the answer before was written: the parent relies on that.
        is_late = begin_by_ns and time.monotonic_ns() > begin_by_ns
        answer = NOT_BEGUN if is_late else runner.answer(cast)
        bell.before(answer)
        channel.send(answer)
        begin_by_ns = batch.begin_by_ns
    bell.end()


def serve(descriptor: int) -> None:
    """Answer casts until the parent closes the socket."""
    channel = _Channel(descriptor)
    first = channel.receive()
    if first is None:
        return
    config = msgspec.msgpack.decode(first, type=ChildConfig)
    try:
        loader, sandbox, ready = _prepare(config, descriptor)
    except (EngineError, JailError, OSError, ValueError, wasmtime.WasmtimeError) as error:
        channel.send(msgspec.msgpack.encode(ChildReady(error=f"{type(error).__name__}: {error}")))
        return
    channel.send(msgspec.msgpack.encode(ready))
    decode, bell = msgspec.msgpack.Decoder(BatchFrame).decode, _Bell(config.bell)
    runner = _Runner(loader, sandbox, _CpuLimit() if config.moves_cpu_limit else None)
    while (frame := channel.receive()) is not None:
        _answer_all(decode(frame), runner, channel, bell)
