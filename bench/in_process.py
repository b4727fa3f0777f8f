"""Calls a second in this process, every limit set and a fresh store each, against the same calls on plain wasmtime-py.

Both run the same module, whose `_start` does nothing, on an engine with the same settings and under the same limits of
fuel, time, memory and tables. Ours also gives it its WASI state, measures and classifies how it ended. The target is
a ratio of times, at most 2.5, so a ratio of rates of at least 0.4.
"""

import hashlib
from typing import Final

import wasmtime

from bench.cores import starting_on
from bench.executor import seconds_for
from bench.ours import BenchError
from bench.rows import Cores, Row, Sample
from domain.model.limits import TABLE_ELEMENTS_MAX, CastLimits
from domain.model.messages import Outcome
from workers.executor.engine import TABLES_MAX, make_engine
from workers.executor.sandbox import TICK_MS, Sandbox

CALLS: Final = 20_000
WARM_CALLS: Final = 500
MODULE: Final = '(module (memory (export "memory") 1) (func (export "_start")))'
LIMITS: Final = CastLimits()


def ours(cores: Cores) -> Sample:
    sandbox = Sandbox()
    module = bytes(wasmtime.wat2wasm(MODULE))
    loaded = sandbox.compile(module, hashlib.sha256(module).digest())

    def call() -> None:
        result = sandbox.run(loaded, b"", LIMITS)
        if result.outcome is not Outcome.SUCCEEDED:
            message = f"the sandbox answered {result}"
            raise BenchError(message)

    with starting_on(cores):
        seconds_for(call, WARM_CALLS)
        seconds = seconds_for(call, CALLS)
    return Sample(per_second=CALLS / seconds, details={"call_us": seconds / CALLS * 1e6})


def raw(cores: Cores) -> Sample:
    engine = make_engine()
    module = wasmtime.Module(engine, MODULE)

    def call() -> None:
        with wasmtime.Store(engine) as store:
            store.set_limits(
                memory_size=LIMITS.memory_bytes,
                table_elements=TABLE_ELEMENTS_MAX,
                instances=1,
                tables=TABLES_MAX,
                memories=1,
            )
            store.set_fuel(LIMITS.fuel)
            store.set_epoch_deadline(LIMITS.wall_ms // TICK_MS)
            start = wasmtime.Instance(store, module, []).exports(store)["_start"]
            assert isinstance(start, wasmtime.Func)
            start(store)

    with starting_on(cores):
        seconds_for(call, WARM_CALLS)
        seconds = seconds_for(call, CALLS)
    return Sample(per_second=CALLS / seconds, details={"call_us": seconds / CALLS * 1e6})


ROW: Final = Row(
    name="in_process",
    what="calls/s of an empty module in one process, every limit set, a fresh store each",
    against="plain wasmtime-py, instantiate and call under the same limits",
    target=0.4,
    settings={"calls": CALLS},
    ours=ours,
    peer=raw,
)
