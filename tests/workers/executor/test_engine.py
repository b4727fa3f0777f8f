"""The engine's settings: each proposal that is off is proved off by a module that needs it."""

import importlib.metadata

import pytest
import wasmtime
from wasmtime import component

from workers.executor.advisories import OPEN_ADVISORIES, REVIEWED_ENGINE_VERSION
from workers.executor.engine import (
    PROPOSALS_OFF,
    PROPOSALS_ON,
    EngineError,
    engine_key,
    engine_version,
    host_target,
    make_engine,
    set_option,
)

# A module that is valid only with the proposal, as text, or as bytes where the text format has no words for it.
NEEDS: dict[str, str] = {
    "gc_support": "(module (func (result i31ref) (ref.i31 (i32.const 1))))",
    "shared_memory": "(module (memory 1 1 shared))",
    "wasm_component_model": "(component)",
    "wasm_component_model_implements": "(component)",
    "wasm_component_model_map": "(component)",
    "wasm_custom_page_sizes": "(module (memory 1 (pagesize 1)))",
    "wasm_exceptions": "(module (tag $t) (func (throw $t)))",
    "wasm_function_references": "(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))",
    "wasm_gc": "(module (type (struct (field i32))))",
    "wasm_memory64": "(module (memory i64 1))",
    "wasm_multi_memory": "(module (memory 1) (memory 1))",
    "wasm_relaxed_simd": "(module (func (param v128 v128) (result v128)"
    " (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
    "wasm_stack_switching": "(module (type $f (func)) (type $c (cont $f)))",
    "wasm_tail_call": "(module (func $f (return_call $f)))",
    "wasm_threads": "(module (memory 1) (func (result i32) (i32.atomic.load (i32.const 0))))",
    "wasm_wide_arithmetic": "(module (func (param i64 i64 i64 i64) (result i64 i64)"
    " (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))",
}
USES: dict[str, str] = {
    "wasm_bulk_memory": "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))",
    "wasm_multi_value": "(module (func (result i32 i32) (i32.const 1) (i32.const 2)))",
    "wasm_reference_types": "(module (table 1 funcref) (func (result funcref) (table.get (i32.const 0))))",
    "wasm_simd": "(module (func (result v128) (v128.const i64x2 1 2)))",
}


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    return make_engine()


def test_the_tables_cover_every_proposal() -> None:
    assert set(NEEDS) == set(PROPOSALS_OFF)
    assert set(USES) == set(PROPOSALS_ON)


@pytest.mark.parametrize("proposal", sorted(NEEDS))
def test_proposal_is_off(proposal: str, engine: wasmtime.Engine) -> None:
    module = bytes(wasmtime.wat2wasm(NEEDS[proposal]))
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module(engine, module)


# Without GC there is no externref; what LLVM emits are tables of functions, several of them, and their instructions.

# What the engine cannot do at all even when asked, on this platform or in this build.
NEVER_ON = {"wasm_stack_switching", "wasm_component_model_map", "wasm_component_model_implements"}


@pytest.mark.parametrize("proposal", sorted(set(NEEDS) - NEVER_ON))
def test_the_module_of_a_proposal_passes_where_it_is_on(proposal: str) -> None:
    config = wasmtime.Config()
    for name in PROPOSALS_OFF:
        if name not in NEVER_ON:
            set_option(config, name, value=True)
    engine = wasmtime.Engine(config)
    module = bytes(wasmtime.wat2wasm(NEEDS[proposal]))
    if proposal == "wasm_component_model":
        component.Component(engine, module)
    else:
        wasmtime.Module(engine, module)


@pytest.mark.parametrize("proposal", sorted(USES))
def test_proposal_is_on(proposal: str, engine: wasmtime.Engine) -> None:
    wasmtime.Module(engine, bytes(wasmtime.wat2wasm(USES[proposal])))


def test_a_name_that_is_no_setting_is_refused() -> None:
    config = wasmtime.Config()
    config.wasm_theads = False  # wasmtime itself says nothing
    with pytest.raises(EngineError, match="wasm_theads"):
        set_option(wasmtime.Config(), "wasm_theads", value=False)
    with pytest.raises(EngineError):
        set_option(wasmtime.Config(), "ptr", value=False)


def test_engine_version_is_the_librarys_and_was_reviewed() -> None:
    assert engine_version() == REVIEWED_ENGINE_VERSION, "another engine: review its advisories (advisories.py)"
    assert engine_version().split(".")[0] == importlib.metadata.version("wasmtime").split(".")[0]
    assert all(advisory.why_not_here for advisory in OPEN_ADVISORIES)
    assert len({advisory.advisory for advisory in OPEN_ADVISORIES}) == len(OPEN_ADVISORIES)


def test_engine_key_names_version_and_target_and_repeats(engine: wasmtime.Engine) -> None:
    key = engine_key(engine)
    assert key == engine_key(make_engine())
    assert key.startswith(f"wasmtime-{engine_version()}-{host_target().label}-")
    assert all(character.isalnum() or character in "-._" for character in key)


def test_engine_key_changes_with_a_flag_of_the_engine(engine: wasmtime.Engine) -> None:
    config = wasmtime.Config()
    config.consume_fuel = True
    assert engine_key(wasmtime.Engine(config)) != engine_key(engine)


def test_nan_is_canonical(engine: wasmtime.Engine) -> None:
    text = '(module (func (export "f") (result i32) (i32.reinterpret_f32 (f32.div (f32.const -0) (f32.const 0)))))'
    store = wasmtime.Store(engine)
    store.set_fuel(1_000)
    store.set_epoch_deadline(1)
    function = wasmtime.Instance(store, wasmtime.Module(engine, text), []).exports(store)["f"]
    assert isinstance(function, wasmtime.Func)
    assert function(store) == 0x7FC00000
