"""First casts a second of a module that is published and not loaded, against compiling it.

Ours reads the artifact, verifies the platform's signature over it, maps it as machine code, links it and casts it once;
nothing is kept from one time to the next but the files, which the kernel has in memory. The peer compiles the same
module with the same engine settings and does not even run it; the start of the compile program, which publishing pays
on top, is left out. `hello` is small, which favours compiling: larger modules have larger ratios.
"""

import contextlib
from typing import Final

import wasmtime

from bench.cores import starting_on
from bench.executor import INPUT, OUTPUT, seconds_for
from bench.ours import SPELL, BenchError
from bench.published import built, open_library
from bench.rows import Cores, Row, Sample
from domain.model.limits import CastLimits
from domain.model.messages import Outcome
from gateways.signing import Verifier
from workers.executor.engine import make_engine
from workers.executor.loader import Loader
from workers.executor.sandbox import Sandbox

LOADS: Final = 1_000
COMPILES: Final = 60
LIMITS: Final = CastLimits()


def ours(cores: Cores) -> Sample:
    sandbox = Sandbox()
    with open_library() as library, contextlib.chdir(library.folder), starting_on(cores):
        digest = library.publish(built(SPELL))
        verifier = Verifier(library.verify_key)

        def first_cast() -> None:
            result = sandbox.run(Loader(sandbox, verifier).get(digest), INPUT, LIMITS)
            if (result.outcome, result.output) != (Outcome.SUCCEEDED, OUTPUT):
                message = f"the sandbox answered {result}"
                raise BenchError(message)

        seconds_for(first_cast, 10)
        seconds = seconds_for(first_cast, LOADS)
    return Sample(per_second=LOADS / seconds, details={"first_cast_ms": seconds / LOADS * 1000})


def compiling(cores: Cores) -> Sample:
    engine = make_engine()
    module = built(SPELL)
    with starting_on(cores):
        seconds_for(lambda: wasmtime.Module(engine, module), 2)
        seconds = seconds_for(lambda: wasmtime.Module(engine, module), COMPILES)
    return Sample(per_second=COMPILES / seconds, details={"compile_ms": seconds / COMPILES * 1000})


ROW: Final = Row(
    name="cold_load",
    what="first casts/s of a published module: verify, load, cast",
    against="compiling it (and not running it)",
    target=20.0,
    settings={"loads": LOADS, "compiles": COMPILES, "module_bytes": len(built(SPELL))},
    ours=ours,
    peer=compiling,
)
