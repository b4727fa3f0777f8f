"""The compile program through its client: what it accepts, and that each refusal names what is wrong."""

import asyncio
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from domain.model.limits import MODULE_BYTES_MAX
from gateways import compiler
from gateways.compiler import (
    CompiledModule,
    CompileError,
    CompileErrorCode,
    Compiler,
    CompilerBusyError,
    CompilerFailedError,
)
from workers.executor.compile import MANIFEST_BYTES_MAX
from workers.executor.engine import engine_key, engine_version, make_engine
from workers.executor.sandbox import Sandbox

Program = Callable[..., bytes]


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


SPELL = '(memory (export "memory") 1) (func (export "_start"))'


def custom(name: bytes, content: bytes) -> bytes:
    body = bytes([len(name)]) + name + content
    length, encoded = len(body), bytearray()
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return b"\0" + bytes([*encoded, length]) + body


async def test_a_good_module_comes_back_compiled(make_program: Program) -> None:
    module = make_program("") + custom(b"spell.manifest", b'{"name": "x"}') + custom(b"other", b"y")
    answer = await Compiler().compile(module)
    assert isinstance(answer, CompiledModule)
    assert answer.digest == hashlib.sha256(module).digest()
    assert answer.manifest == b'{"name": "x"}'
    assert answer.engine_version == engine_version()
    assert answer.artifact_sha256 == hashlib.sha256(answer.artifact).digest()
    assert answer.imports == tuple(sorted(answer.imports))
    assert {"fd_write", "random_get"} <= set(answer.imports)
    assert set(answer.exports) == {"memory", "_start"}
    assert answer.memory_bytes_minimum == 65_536
    engine = make_engine()
    assert answer.engine_key == engine_key(engine)
    # The jailed program makes exactly what an engine here would accept, and the same bytes each time.
    wasmtime.Module.deserialize(engine, answer.artifact)
    again = await Compiler().compile(module)
    assert isinstance(again, CompiledModule)
    assert again.artifact == answer.artifact


async def test_a_module_without_manifest(make_program: Program) -> None:
    answer = await Compiler().compile(make_program(""))
    assert isinstance(answer, CompiledModule)
    assert answer.manifest is None


REFUSED: dict[str, tuple[bytes, CompileErrorCode, str]] = {
    "text": (b'(module (func (export "_start")))', CompileErrorCode.NOT_WASM, "wat2wasm"),
    "text after a blank": (b"  \n(module)", CompileErrorCode.NOT_WASM, "text"),
    "ELF": (b"\x7fELF\x02\x01\x01\0" + bytes(64), CompileErrorCode.NOT_WASM, "wasm32-wasip1"),
    "an empty file": (b"", CompileErrorCode.NOT_WASM, "nothing"),
    "noise": (bytes(range(200)), CompileErrorCode.NOT_WASM, "0061736d"),
    "a component": (wat("(component)"), CompileErrorCode.NOT_WASM, "wasip1"),
    "an unknown version": (b"\0asm\2\0\0\0", CompileErrorCode.NOT_WASM, "version"),
    "truncated": (wat(f"(module {SPELL})")[:-3], CompileErrorCode.MALFORMED, "cut off"),
    "a section without end": (b"\0asm\1\0\0\0\1\xff\xff\xff\xff\xff\xff", CompileErrorCode.MALFORMED, "number at byte"),
    "invalid code": (wat(f"(module {SPELL})")[:-1] + b"\x6a", CompileErrorCode.MALFORMED, "not valid"),
    "a foreign import": (
        wat(f'(module (import "env" "system" (func)) {SPELL})'),
        CompileErrorCode.IMPORT_REFUSED,
        "env.system",
    ),
    "preview 0": (
        wat(f'(module (import "wasi_unstable" "fd_write" (func)) {SPELL})'),
        CompileErrorCode.IMPORT_REFUSED,
        "wasi_unstable.fd_write",
    ),
    "an import with a wrong signature": (
        wat(f'(module (import "wasi_snapshot_preview1" "fd_close" (func (param i64) (result i32))) {SPELL})'),
        CompileErrorCode.IMPORT_REFUSED,
        r"fd_close is \(i32\) -> \(i32\), the module wants \(i64\) -> \(i32\)",
    ),
    "an import that is no function": (
        wat(f'(module (import "wasi_snapshot_preview1" "fd_close" (global i32)) {SPELL})'),
        CompileErrorCode.IMPORT_REFUSED,
        "no function",
    ),
    "an imported memory": (
        wat('(module (import "env" "memory" (memory 1)) (func (export "_start")))'),
        CompileErrorCode.IMPORT_REFUSED,
        "env.memory",
    ),
    "no _start": (wat('(module (memory (export "memory") 1))'), CompileErrorCode.EXPORT_MISSING, "_start"),
    "_start with parameters": (
        wat('(module (memory (export "memory") 1) (func (export "_start") (param i32)))'),
        CompileErrorCode.EXPORT_MISSING,
        "_start",
    ),
    "no memory": (wat('(module (func (export "_start")))'), CompileErrorCode.EXPORT_MISSING, "memory"),
    "too much memory": (
        wat('(module (memory (export "memory") 8193) (func (export "_start")))'),
        CompileErrorCode.MEMORY_TOO_LARGE,
        "536936448",
    ),
    "too large a table": (wat(f"(module (table 65537 funcref) {SPELL})"), CompileErrorCode.TABLE_TOO_LARGE, "65537"),
    "too many tables": (
        wat(f"(module {'(table 1 2 funcref)' * 5} {SPELL})"),
        CompileErrorCode.TABLE_TOO_LARGE,
        "5 tables",
    ),
    "threads": (
        wat('(module (memory (export "memory") 1 1 shared) (func (export "_start")))'),
        CompileErrorCode.UNSUPPORTED,
        "threads",
    ),
    "64-bit memory": (
        wat('(module (memory (export "memory") i64 1) (func (export "_start")))'),
        CompileErrorCode.UNSUPPORTED,
        "memory64",
    ),
    "two manifests": (
        wat(f"(module {SPELL})") + custom(b"spell.manifest", b"{}") * 2,
        CompileErrorCode.MANIFEST_REFUSED,
        "keep one",
    ),
    "a huge manifest": (
        wat(f"(module {SPELL})") + custom(b"spell.manifest", bytes(MANIFEST_BYTES_MAX + 1)),
        CompileErrorCode.MANIFEST_REFUSED,
        str(MANIFEST_BYTES_MAX),
    ),
    "too large a module": (bytes(MODULE_BYTES_MAX + 1), CompileErrorCode.TOO_LARGE, str(MODULE_BYTES_MAX)),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_refusal_names_the_fault(name: str) -> None:
    module, code, text = REFUSED[name]
    answer = await Compiler().compile(module)
    assert isinstance(answer, CompileError), answer
    assert answer.code is code, answer
    with pytest.raises(ValueError, match=text):
        raise ValueError(answer.message)


def bomb(function_count: int, *, depth: int = 4) -> bytes:
    """Valid, and far more work than its size promises: nested loops with many live values."""
    body = "".join(
        f"(local.set {n % 40} (i32.mul (local.get {(n + 1) % 40}) (local.get {(n * 7) % 40})))" for n in range(200)
    )
    for _ in range(depth):
        body = f"(loop (block {body} {body} (br_if 1 (local.get 0))))"
    function = f"(func (local {'i32 ' * 40}) {body})"
    return wat(f"(module {SPELL} {function * function_count})")


async def test_a_compile_bomb_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "WALL_SECONDS_MAX", 1.0)
    async with asyncio.timeout(5):
        answer = await Compiler().compile(bomb(3, depth=9))
    assert isinstance(answer, CompileError)
    assert answer.code is CompileErrorCode.COMPILE_LIMIT


async def test_a_compile_bomb_ends_at_the_cpu_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same program under a limit of one second, which it may lower but not raise.
    shell = tmp_path / "python"
    shell.write_text(f'#!/bin/sh\nulimit -t 1\nexec {sys.executable} "$@"\n')
    shell.chmod(0o755)
    monkeypatch.setattr(compiler.sys, "executable", str(shell))
    answer = await Compiler().compile(bomb(3, depth=9))
    assert isinstance(answer, CompileError)
    assert answer.code is CompileErrorCode.COMPILE_LIMIT
    assert "CPU time" in answer.message


async def test_a_compile_bomb_ends_at_the_memory_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = tmp_path / "python"
    shell.write_text(f'#!/bin/sh\nulimit -v 200000\nexec {sys.executable} "$@"\n')
    shell.chmod(0o755)
    monkeypatch.setattr(compiler.sys, "executable", str(shell))
    answer = await Compiler().compile(bomb(3, depth=9))
    assert isinstance(answer, CompileError), answer
    assert answer.code is CompileErrorCode.COMPILE_LIMIT
    assert "memory" in answer.message


async def test_no_more_than_two_at_a_time(make_program: Program) -> None:
    client, module = Compiler(), make_program("")
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(client.compile(module)) for _ in range(compiler.CONCURRENT_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(CompilerBusyError, match="try again"):
            await client.compile(module)
    assert all(isinstance(task.result(), CompiledModule) for task in running)
    assert isinstance(await client.compile(module), CompiledModule)


async def test_a_canceled_caller_leaves_no_process(make_program: Program) -> None:
    client = Compiler()
    task = asyncio.create_task(client.compile(make_program("")))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await client.compile(make_program("")), CompiledModule)


async def test_a_program_that_does_not_work_is_no_verdict(
    make_program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler.sys, "executable", "/bin/false")
    with pytest.raises(CompilerFailedError, match="code 1"):
        await Compiler().compile(make_program(""))


async def test_an_import_free_module_runs_after_compiling(make_program: Program) -> None:
    module = make_program("", imports="")
    answer = await Compiler().compile(module)
    assert isinstance(answer, CompiledModule)
    assert answer.imports == ()
    assert Sandbox().key == answer.engine_key
