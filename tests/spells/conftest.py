"""Casts the built example spells with wasmtime's own WASI: an implementation that is not ours must agree."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import pytest
from wasmtime import Config, Engine, ExitTrap, Linker, Module, Store, WasiConfig

from spells.build import BUILT, RECIPES, SPELLS

# What design.md forbids a module to need. Everything else the pinned engine offers is on.
FORBIDDEN_PROPOSALS: Final = (
    "wasm_threads",
    "wasm_tail_call",
    "wasm_gc",
    "wasm_function_references",
    "wasm_exceptions",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_relaxed_simd",
)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits a manifest declares."""

    fuel: int
    wall_ms: int
    memory_bytes: int
    output_bytes: int


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How one cast ended."""

    exit_code: int
    output: bytes
    log: str
    fuel: int


Cast = Callable[..., Ending]


@cache
def engine() -> Engine:
    config = Config()
    config.consume_fuel = True
    # Nothing here is timed, and Go's runtime compiles four times as fast so. Fuel does not depend on it.
    config.cranelift_opt_level = "none"
    for proposal in FORBIDDEN_PROPOSALS:
        assert hasattr(Config, proposal), f"this wasmtime knows no {proposal}: setting it would do nothing"
        setattr(config, proposal, False)
    return Engine(config)


@cache
def module(name: str) -> Module:
    return Module(engine(), (BUILT / f"{name}.wasm").read_bytes())


@cache
def limits(name: str) -> Limits:
    folder = next(recipe.folder for recipe in RECIPES if recipe.name == name)
    manifest = msgspec.json.decode((SPELLS / folder / "spell.json").read_bytes(), type=dict[str, msgspec.Raw])
    return msgspec.json.decode(manifest["limits"], type=Limits)


def cast_in(folder: Path, name: str, data: bytes, fuel: int | None) -> Ending:
    allowed = limits(name)
    given = allowed.fuel if fuel is None else fuel
    store = Store(engine())
    store.set_fuel(given)
    store.set_limits(memory_size=allowed.memory_bytes)
    stdin, stdout, stderr = (folder / stream for stream in ("stdin", "stdout", "stderr"))
    stdin.write_bytes(data)
    wasi = WasiConfig()
    wasi.stdin_file = str(stdin)
    wasi.stdout_file = str(stdout)
    wasi.stderr_file = str(stderr)
    store.set_wasi(wasi)
    linker = Linker(engine())
    linker.define_wasi()
    start = linker.instantiate(store, module(name)).exports(store)["_start"]
    exit_code = 0
    try:
        start(store)  # pyright: ignore[reportCallIssue, reportUnknownVariableType]  # an export of a command is a function
    except ExitTrap as trap:
        exit_code = trap.code
    left = store.get_fuel()
    store.close()
    log = stderr.read_text(encoding="utf-8", errors="replace")
    output = stdout.read_bytes()
    assert len(output) <= allowed.output_bytes, f"{name} passes the output limit of its own manifest"
    return Ending(exit_code=exit_code, output=output, log=log, fuel=given - left)


@pytest.fixture(scope="session", autouse=True)
def _caches_end_with_the_session() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  # pytest calls it
    yield
    # Left to the end of the interpreter, wasmtime would call functions that are already gone.
    module.cache_clear()
    engine.cache_clear()


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    """Cast a built spell with bytes on stdin, under the limits of its manifest (fuel may be raised). Traps raise."""

    def run(name: str, data: bytes, *, fuel: int | None = None) -> Ending:
        return cast_in(tmp_path, name, data, fuel)

    return run


@pytest.fixture
def sample() -> Callable[[str], bytes]:
    """Return the bytes of a file under `spells/samples`."""
    return lambda name: (SPELLS / "samples" / name).read_bytes()
