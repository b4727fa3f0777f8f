"""`python -m workers.executor.compile JAIL KIND`: one module on stdin, a verdict and an artifact on stdout.

Cranelift reads bytes of strangers here, so the process has a jail, a CPU limit and a memory limit, and dies after one
module. `gateways.compiler` starts it and reads its death as a verdict too.
"""

import hashlib
import os
import resource
import sys
from typing import Final

import msgspec
import wasmtime

from domain.model.limits import (
    KIB,
    MEMORY_BYTES_MAX,
    MIB,
    MODULE_BYTES_MAX,
    RUNTIME_MODULE_BYTES_MAX,
    TABLE_ELEMENTS_MAX,
)
from gateways.compiler import LENGTH_BYTES, CompileAnswer, CompiledModule, CompileError, CompileErrorCode
from workers.executor.engine import TABLES_MAX, EngineError, engine_key, engine_version, make_engine
from workers.executor.jail import JailError, enter, lower_limit
from workers.executor.linker import FUNCTIONS, MODULE, module_of, signature
from workers.executor.protocol import JailMode
from workers.executor.sandbox import memory_minimum_bytes
from workers.executor.sections import (
    COMPONENT_VERSION,
    CORE_VERSION,
    MAGIC,
    MalformedError,
    custom_sections,
    sections,
    table_minimums,
)

CPU_SECONDS_MAX: Final = 30
ADDRESS_SPACE_BYTES_MAX: Final = 1024 * MIB
# CPython is 26 MiB of code and data; only the operator publishes such modules.
RUNTIME_CPU_SECONDS_MAX: Final = 300
RUNTIME_ADDRESS_SPACE_BYTES_MAX: Final = 4096 * MIB

MANIFEST_SECTION: Final = "spell.manifest"
# A schema may have 64 KiB; the rest is text.
MANIFEST_BYTES_MAX: Final = 256 * KIB

_TEXT_CHARACTERS_MAX: Final = 400


class RefusedError(Exception):
    """The module may not be published."""

    def __init__(self, code: CompileErrorCode, message: str) -> None:
        """Take the verdict; the message is for the creator."""
        super().__init__(message)
        self.error: Final = CompileError(code=code, message=message)


def _check_header(module: bytes) -> None:
    """Look before the engine does: `Module()` would also take text."""
    if module.startswith(MAGIC + CORE_VERSION):
        return
    if module.startswith(MAGIC + COMPONENT_VERSION):
        what = "a component; publish the core module (build for wasm32-wasip1, not wasip2)"
    elif module.startswith(MAGIC):
        what = f"WASM of an unknown version ({module[4:8].hex()}); build for wasm32-wasip1"
    elif module.lstrip().startswith(b"(module"):
        what = "WebAssembly text; convert it first, for example with wat2wasm"
    elif module.startswith(b"\x7fELF"):
        what = "a program for Linux (ELF); build for wasm32-wasip1"
    else:
        what = f"not WASM: it begins with {module[:8].hex() or 'nothing'}, a module begins with {MAGIC.hex()}01000000"
    raise RefusedError(CompileErrorCode.NOT_WASM, f"the file is {what}")


def _check_outline(module: bytes) -> bytes | None:
    """Walk over all sections and return the manifest."""
    try:
        for _ in sections(module):
            pass
        manifests = custom_sections(module, MANIFEST_SECTION)
    except MalformedError as error:
        raise RefusedError(CompileErrorCode.MALFORMED, str(error)) from error
    if len(manifests) > 1:
        message = f"the module has {len(manifests)} custom sections {MANIFEST_SECTION}; keep one"
        raise RefusedError(CompileErrorCode.MANIFEST_REFUSED, message)
    if manifests and len(manifests[0]) > MANIFEST_BYTES_MAX:
        message = f"the manifest has {len(manifests[0])} bytes, at most {MANIFEST_BYTES_MAX} are allowed"
        raise RefusedError(CompileErrorCode.MANIFEST_REFUSED, message)
    return manifests[0] if manifests else None


def _translate(engine: wasmtime.Engine, module: bytes) -> wasmtime.Module:
    try:
        return wasmtime.Module(engine, module)
    except wasmtime.WasmtimeError as error:
        text = " ".join(str(error).split())[:_TEXT_CHARACTERS_MAX]
        if "be enabled" in text or "not enabled" in text or "requires" in text or "not supported" in text:
            message = f"the module uses a feature that casts do not have: {text}; build without it"
            raise RefusedError(CompileErrorCode.UNSUPPORTED, message) from error
        raise RefusedError(CompileErrorCode.MALFORMED, f"the module is not valid WASM: {text}") from error


def _letters(values: list[wasmtime.ValType]) -> str:
    return ", ".join(str(value) for value in values)


def _check_import(item: wasmtime.ImportType) -> str:
    """Return the name of an allowed import."""
    name = item.name or ""
    if name not in FUNCTIONS or item.module != module_of(name):
        message = (
            f"the import {item.module}.{name} does not exist here; a spell may import only {MODULE} "
            "(stdin, stdout, stderr, clock, randomness, exit) and spell.report_units: build a WASI preview 1 command "
            "(wasm32-wasip1)"
        )
        raise RefusedError(CompileErrorCode.IMPORT_REFUSED, message)
    kind = item.type
    wanted = signature(name)
    found = (f"({_letters(kind.params)})", f"({_letters(kind.results)})") if isinstance(kind, wasmtime.FuncType) else ()
    if found != wanted:
        shown = f"{found[0]} -> {found[1]}" if found else "no function"
        message = f"the import {item.module}.{name} is {wanted[0]} -> {wanted[1]}, the module wants {shown}"
        raise RefusedError(CompileErrorCode.IMPORT_REFUSED, message)
    return name


def _check_exports(translated: wasmtime.Module) -> None:
    kinds = {export.name: export.type for export in translated.exports}
    start = kinds.get("_start")
    if not isinstance(start, wasmtime.FuncType) or start.params or start.results:
        message = "the module does not export a function _start without parameters: build a command, not a library"
        raise RefusedError(CompileErrorCode.EXPORT_MISSING, message)
    if not isinstance(kinds.get("memory"), wasmtime.MemoryType):
        message = "the module does not export its memory as `memory`: tell the linker to export it"
        raise RefusedError(CompileErrorCode.EXPORT_MISSING, message)


def _check_sizes(module: bytes, translated: wasmtime.Module) -> int:
    """Return the bytes of memory that the module begins with."""
    minimum = memory_minimum_bytes(translated)
    if minimum > MEMORY_BYTES_MAX:
        message = f"the module begins with {minimum} bytes of memory, at most {MEMORY_BYTES_MAX} are allowed"
        raise RefusedError(CompileErrorCode.MEMORY_TOO_LARGE, message)
    tables = table_minimums(module)
    if len(tables) > TABLES_MAX:
        message = f"the module has {len(tables)} tables, at most {TABLES_MAX} are allowed"
        raise RefusedError(CompileErrorCode.TABLE_TOO_LARGE, message)
    if tables and max(tables) > TABLE_ELEMENTS_MAX:
        message = f"a table begins with {max(tables)} elements, at most {TABLE_ELEMENTS_MAX} are allowed"
        raise RefusedError(CompileErrorCode.TABLE_TOO_LARGE, message)
    return minimum


def compile_module(engine: wasmtime.Engine, module: bytes, *, bytes_max: int) -> CompiledModule:
    """Return the module's artifact and outline; RefusedError says why it may not be published."""
    if len(module) > bytes_max:
        message = f"the module has {len(module)} bytes, at most {bytes_max} are allowed"
        raise RefusedError(CompileErrorCode.TOO_LARGE, message)
    _check_header(module)
    manifest = _check_outline(module)
    translated = _translate(engine, module)
    imports = sorted(_check_import(item) for item in translated.imports)
    _check_exports(translated)
    memory_bytes_minimum = _check_sizes(module, translated)
    artifact = bytes(translated.serialize())
    return CompiledModule(
        digest=hashlib.sha256(module).digest(),
        engine_key=engine_key(engine),
        engine_version=engine_version(),
        artifact=artifact,
        artifact_sha256=hashlib.sha256(artifact).digest(),
        imports=tuple(imports),
        exports=tuple(export.name for export in translated.exports),
        memory_bytes_minimum=memory_bytes_minimum,
        manifest=manifest,
    )


def _read_exactly(count: int) -> bytes:
    pieces: list[bytes] = []
    while count:
        piece = os.read(0, count)
        if not piece:
            raise SystemExit(2)
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _answer(answer: CompileAnswer) -> None:
    frame = msgspec.msgpack.encode(answer)
    rest = memoryview(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)
    while rest:
        rest = rest[os.write(1, rest) :]


def main(jail: JailMode, *, runtime: bool) -> None:
    """Read one module, answer, and end. An empty answer means: this host cannot compile."""
    bytes_max = RUNTIME_MODULE_BYTES_MAX if runtime else MODULE_BYTES_MAX
    cpu_seconds = RUNTIME_CPU_SECONDS_MAX if runtime else CPU_SECONDS_MAX
    length = int.from_bytes(_read_exactly(LENGTH_BYTES), "big")
    module = _read_exactly(min(length, bytes_max + 1))
    lower_limit(resource.RLIMIT_CPU, cpu_seconds)
    try:
        engine = make_engine()
        # Reads the shared library, and remembers: inside the jail there are no files.
        engine_version()
        enter(
            jail,
            parent_pid=os.getppid(),
            readable_folder=None,
            write_descriptors=(1,),
            moves_cpu_limit=False,
            address_space_bytes=RUNTIME_ADDRESS_SPACE_BYTES_MAX if runtime else ADDRESS_SPACE_BYTES_MAX,
            start_threads=lambda: None,
        )
    except (EngineError, JailError):
        _answer(CompileAnswer())
        return
    try:
        _answer(CompileAnswer(compiled=compile_module(engine, module, bytes_max=bytes_max)))
    except MemoryError:
        # Python's way to find the memory limit; the engine's is an abort. One verdict for both.
        os.abort()
    except RefusedError as refused:
        _answer(CompileAnswer(error=refused.error))


if __name__ == "__main__":
    main(JailMode(sys.argv[1]), runtime=sys.argv[2] == "runtime")
