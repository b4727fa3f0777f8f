"""Casts a second through one jailed child with a fresh store each, against extism's Python SDK with fresh plugins.

Both run the spell `hello` under WASI. Ours reads its input, parses it, and answers; under extism's WASI it gets none
and its output is dropped. A plugin is made from the module's bytes for each call, as the SDK's documentation does it
(compiled code comes from its cache on disk). Beside it, in the details, stand two faster ways: `hello` compiled once
(`CompiledPlugin`, which the package does not export), and the least module there can be, compiled once, without WASI.
"""

import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

import wasmtime
from extism.extism import CompiledPlugin, Plugin

from bench.cores import starting_on
from bench.ours import SPELL, BenchError
from bench.published import built, open_library
from bench.rows import Cores, Row, Sample
from domain.model.limits import CastLimits
from domain.model.messages import Outcome
from workers.executor.parent import Executor, ExecutorConfig
from workers.executor.protocol import ExecuteRequest, JailMode

CASTS: Final = 5_000
CALLS: Final = 2_000
WARM_CASTS: Final = 200
# The ways of extism that are only details.
CALLS_BESIDE: Final = 300
INPUT: Final = b'"Ada"'
OUTPUT: Final = b'"Hello, Ada!"'
LEAST_MODULE: Final = '(module (memory (export "memory") 1) (func (export "run") (result i32) (i32.const 0)))'


def ours(cores: Cores) -> Sample:
    with open_library() as library, starting_on(cores):
        digest = library.publish(built(SPELL))
        config = ExecutorConfig(artifact_folder=library.folder, verify_key=library.verify_key, jail=JailMode.REQUIRED)
        executor = Executor(config)

        def cast() -> None:
            request = ExecuteRequest(cast_id=uuid4(), digest=digest, limits=CastLimits(), input=INPUT)
            result = executor.run(request)
            if (result.outcome, result.output) != (Outcome.SUCCEEDED, OUTPUT):
                message = f"the executor answered {result}"
                raise BenchError(message)

        try:
            executor.start()
            seconds_for(cast, WARM_CASTS)
            seconds = seconds_for(cast, CASTS)
        finally:
            executor.close()
    return Sample(per_second=CASTS / seconds, details={"cast_us": seconds / CASTS * 1e6})


def extism(cores: Cores) -> Sample:
    module = built(SPELL)
    compiled = CompiledPlugin(module, wasi=True)
    least = CompiledPlugin(bytes(wasmtime.wat2wasm(LEAST_MODULE)))

    def fresh() -> None:
        with Plugin(module, wasi=True) as plugin:
            plugin.call("_start", INPUT)

    def fresh_compiled_once() -> None:
        with Plugin(compiled, wasi=True) as plugin:
            plugin.call("_start", INPUT)

    def fresh_least() -> None:
        with Plugin(least) as plugin:
            plugin.call("run", INPUT)

    with starting_on(cores):
        seconds_for(fresh, WARM_CASTS)
        seconds = seconds_for(fresh, CALLS)
        details = {
            "call_us": seconds / CALLS * 1e6,
            "compiled_once_us": seconds_for(fresh_compiled_once, CALLS_BESIDE) / CALLS_BESIDE * 1e6,
            "least_module_compiled_once_us": seconds_for(fresh_least, CALLS_BESIDE) / CALLS_BESIDE * 1e6,
        }
    return Sample(per_second=CALLS / seconds, details=details)


def seconds_for(action: Callable[[], object], count: int) -> float:
    """Return how long `count` actions take, one after the other."""
    started_at = time.perf_counter()
    for _ in range(count):
        action()
    return time.perf_counter() - started_at


ROW: Final = Row(
    name="executor",
    what="casts/s of `hello`, one jailed child, a fresh store each",
    against="extism's Python SDK, the same module, a fresh plugin per call",
    target=4.0,
    settings={"casts": CASTS, "calls": CALLS, "jail": "required", "calls_beside": CALLS_BESIDE},
    ours=ours,
    peer=extism,
)
