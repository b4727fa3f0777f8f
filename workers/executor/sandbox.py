"""Runs casts in this process: a fresh store each, with every limit set, thrown away after.

Used by the child. It has no jail and no clock of its own: whoever owns the process calls `tick` every `TICK_MS`.
"""

import time
from typing import Final

import msgspec
import wasmtime

from domain.model.limits import CastLimits
from domain.model.messages import Outcome
from workers.executor import capi
from workers.executor.engine import engine_key, make_engine
from workers.executor.linker import Host
from workers.executor.protocol import MESSAGE_CHARACTERS_MAX, ExecuteResult
from workers.executor.store import Store
from workers.executor.wasi import SUCCEEDED, Stop, WasiCast

# The grain of wall time: a guest may run this much longer than it should.
TICK_MS: Final = 10

# The engine keeps the fuel of the innermost function in a register, and what stands there is lost when a fault or the
# clock ends the guest: a loop without calls, then a division by zero, would cost nothing. So such an end costs at least
# this much per CPU millisecond, a third of what the slowest code measured burns: nobody whose fuel was counted pays
# more, and their price stays exact.
FUEL_PER_CPU_MS_MIN: Final = 200_000
_COUNT_LOST: Final = frozenset({Outcome.TRAP, Outcome.MEMORY_EXCEEDED, Outcome.WALL_TIME_EXCEEDED})

_PAGE_BYTES: Final = 65_536

_TRAP_INTERRUPT: Final = 10
_TRAP_OUT_OF_FUEL: Final = 11
_TRAP_TEXTS: Final = {
    0: "the call stack was exhausted",
    1: "a memory access was out of bounds",
    2: "a memory access was not aligned",
    3: "a table access was out of bounds",
    4: "an indirect call went to an empty table entry",
    5: "an indirect call had the wrong signature",
    6: "an integer operation overflowed",
    7: "an integer was divided by zero",
    8: "a float could not be converted to an integer",
    9: "the code reached an `unreachable` instruction",
    12: "an atomic wait was made on a memory that is not shared",
    13: "a null reference was called",
}


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A module ready to run any number of times."""

    digest: bytes
    pre: wasmtime.InstancePre
    """Keeps the machine code and the resolved imports alive."""
    address: capi.Argument
    memory_bytes_minimum: int


def memory_minimum_bytes(module: wasmtime.Module) -> int:
    """Return the bytes that the exported memory begins with, 0 without one."""
    for export in module.exports:
        if export.name == "memory" and isinstance(export.type, wasmtime.MemoryType):
            return export.type.limits.min * _PAGE_BYTES
    return 0


class Sandbox:
    """The engine of this process and what it takes to run one cast at a time on it."""

    def __init__(self) -> None:
        """Make the engine, define the host functions, and name what artifacts fit (`key`)."""
        self._engine: Final = make_engine(pooled=True)
        self._engine_address: Final = capi.address(self._engine)
        self._store: Final = Store(self._engine)
        self._host: Final = Host(self._engine, self._store)
        self.key: Final = engine_key(self._engine)

    def tick(self) -> None:
        """Advance the epoch; any thread may call it while a guest runs."""
        capi.increment_epoch(self._engine_address)

    def compile(self, module: bytes, digest: bytes) -> Loaded:
        """Compile and link a module here and now. For the warm-up and for tests: casts load artifacts."""
        return self._link(wasmtime.Module(self._engine, module), digest)

    def load(self, artifact: str, digest: bytes) -> Loaded:
        """Map a compiled artifact, whose signature the caller has just verified: its bytes become machine code."""
        return self._link(wasmtime.Module.deserialize_file(self._engine, artifact), digest)

    def _link(self, module: wasmtime.Module, digest: bytes) -> Loaded:
        pre = self._host.link(module)
        minimum = memory_minimum_bytes(module)
        return Loaded(digest=digest, pre=pre, address=capi.passed(capi.address(pre)), memory_bytes_minimum=minimum)

    def run(self, loaded: Loaded, guest_input: bytes, limits: CastLimits) -> ExecuteResult:
        """Run one cast to its end and say how it ended. Never raises for anything a guest does."""
        started_ns, cpu_started_ns = time.perf_counter_ns(), time.thread_time_ns()
        if loaded.memory_bytes_minimum > limits.memory_bytes:
            return _memory_refused(loaded, limits)
        cast, store = WasiCast(loaded.digest, guest_input, limits, self._host.memory), self._store
        # The present tick is already partly over, hence one more.
        store.open(limits, -(-limits.wall_ms // TICK_MS) + 1)
        try:
            self._host.begin(cast)
            ending = self._execute(loaded, cast, limits)
            memory_bytes = store.memory_bytes() if store.is_instantiated else loaded.memory_bytes_minimum
            fuel = limits.fuel - store.fuel_left()
        finally:
            self._host.end()
            store.close()
        ending = _classify(ending, memory_bytes, limits)
        cpu_us = (time.thread_time_ns() - cpu_started_ns) // 1000
        if ending.outcome in _COUNT_LOST:
            fuel = min(max(fuel, cpu_us // 1000 * FUEL_PER_CPU_MS_MIN), limits.fuel)
        return ExecuteResult(
            outcome=ending.outcome,
            exit_code=ending.exit_code,
            fuel=fuel,
            cpu_us=cpu_us,
            wall_us=(time.perf_counter_ns() - started_ns) // 1000,
            memory_bytes_peak=memory_bytes,
            output=bytes(cast.output),
            log=bytes(cast.log),
            message=ending.message[:MESSAGE_CHARACTERS_MAX],
            units=cast.units,
        )

    def _execute(self, loaded: Loaded, cast: WasiCast, limits: CastLimits) -> Stop:
        """Instantiate (which may run a start function) and call `_start`."""
        store = self._store
        error = store.instantiate(loaded.address)
        if store.is_instantiated:
            if not store.find_start():
                return Stop(outcome=Outcome.PLATFORM_ERROR, message="the module does not export `_start`")
            error = store.call_start()
        if error:
            return Stop(outcome=Outcome.PLATFORM_ERROR, message=f"the engine refused: {capi.take_error(error)}")
        trap = store.take_trap()
        return self._trapped(trap, cast, limits) if trap else SUCCEEDED

    def _trapped(self, trap: int, cast: WasiCast, limits: CastLimits) -> Stop:
        code = capi.take_trap_code(trap)
        if self._host.fault is not None:
            message = f"a host function of the executor failed: {self._host.fault!r}"
            return Stop(outcome=Outcome.PLATFORM_ERROR, message=message)
        if cast.stop is not None:
            return cast.stop
        if code == _TRAP_OUT_OF_FUEL:
            message = f"the module used all of its {limits.fuel} fuel"
            return Stop(outcome=Outcome.FUEL_EXHAUSTED, message=message)
        if code == _TRAP_INTERRUPT:
            message = f"the module ran longer than its limit of {limits.wall_ms} ms"
            return Stop(outcome=Outcome.WALL_TIME_EXCEEDED, message=message)
        reason = "for an unknown reason" if code is None else _TRAP_TEXTS.get(code, f"with code {code}")
        return Stop(outcome=Outcome.TRAP, message=f"the module trapped: {reason}", by_guest=True)


def _memory_refused(loaded: Loaded, limits: CastLimits) -> ExecuteResult:
    message = (
        f"the module begins with {loaded.memory_bytes_minimum} bytes of memory; the limit is {limits.memory_bytes}"
    )
    return ExecuteResult(outcome=Outcome.MEMORY_EXCEEDED, fuel=0, message=message)


def _classify(ending: Stop, memory_bytes: int, limits: CastLimits) -> Stop:
    """Name the cause: who failed with memory nearly full, failed for lack of memory.

    A refused `memory.grow` answers -1 and does not trap, so what a guest then does (abort, exit 1) has many faces.
    """
    if not ending.by_guest or memory_bytes * 8 < limits.memory_bytes * 7:
        return ending
    message = (
        f"the module failed with {memory_bytes} of its {limits.memory_bytes} bytes of memory taken: {ending.message}"
    )
    return Stop(outcome=Outcome.MEMORY_EXCEEDED, message=message, exit_code=ending.exit_code)
