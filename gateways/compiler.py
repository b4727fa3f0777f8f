"""Runs the compile program of `workers.executor` for whoever publishes: one limited process for each module.

The api may not import the executor (nor load an engine); it learns all it needs from the answer.
"""

import asyncio
import enum
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from domain.model.limits import MIB, MODULE_BYTES_MAX, RUNTIME_MODULE_BYTES_MAX

# Each takes a core and up to a gigabyte for up to half a minute.
CONCURRENT_MAX: Final = 2
# The program has 30 s of CPU; on a loaded machine that takes longer by the clock.
WALL_SECONDS_MAX: Final = 90.0
# An interpreter may take ten times as long.
RUNTIME_WALL_SECONDS_MAX: Final = 600.0
# Machine code is a few times its module; beyond this it is no artifact.
ANSWER_BYTES_MAX: Final = 512 * MIB
LENGTH_BYTES: Final = 4

_SOURCE_ROOT: Final = Path(__file__).resolve().parent.parent


class CompileErrorCode(enum.StrEnum):
    """Why a module was refused."""

    TOO_LARGE = "module_too_large"
    NOT_WASM = "not_wasm"
    MALFORMED = "module_malformed"
    UNSUPPORTED = "module_unsupported"
    IMPORT_REFUSED = "import_refused"
    EXPORT_MISSING = "export_missing"
    MEMORY_TOO_LARGE = "memory_too_large"
    TABLE_TOO_LARGE = "table_too_large"
    MANIFEST_REFUSED = "manifest_refused"
    COMPILE_LIMIT = "compile_limit"


class CompileError(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal: the message names the import, section, feature or size at fault and how to fix it."""

    code: CompileErrorCode
    message: str


class CompiledModule(msgspec.Struct, frozen=True, kw_only=True):
    """A module that may be published, and its machine code."""

    digest: bytes
    """SHA-256 of the module."""
    engine_key: str
    engine_version: str
    artifact: bytes
    artifact_sha256: bytes
    imports: tuple[str, ...]
    """Names of the host functions it uses, sorted."""
    exports: tuple[str, ...]
    memory_bytes_minimum: int
    manifest: bytes | None
    """The custom section `spell.manifest`, as it stands in the module."""


class CompileAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the program says: exactly one of the two."""

    compiled: CompiledModule | None = None
    error: CompileError | None = None


class CompilerBusyError(Exception):
    """As many modules as allowed are being compiled: answer 503 and let the caller try again."""


class CompilerFailedError(Exception):
    """The program itself did not work; nothing is known about the module."""


class Compiler:
    """Starts compile processes, never more than CONCURRENT_MAX at a time."""

    def __init__(self, *, jail: str = "required") -> None:
        """Take the jail mode (`required`, `auto`, `off`) that the program enters before it looks at a module."""
        self._jail: Final = jail
        self._running = 0

    async def compile(self, module: bytes, *, runtime: bool = False) -> CompiledModule | CompileError:
        """Validate and compile a module; `runtime` gives an interpreter of the operator more of everything.

        CompilerBusyError at once when there is no place; CompilerFailedError when the program could not do its work.
        """
        size_max = RUNTIME_MODULE_BYTES_MAX if runtime else MODULE_BYTES_MAX
        if len(module) > size_max:
            message = f"the module has {len(module)} bytes, at most {size_max} are allowed: strip debug information"
            return CompileError(code=CompileErrorCode.TOO_LARGE, message=message)
        if self._running >= CONCURRENT_MAX:
            message = f"{CONCURRENT_MAX} modules are being compiled; try again in a few seconds"
            raise CompilerBusyError(message)
        self._running += 1
        try:
            return await self._compile(module, runtime=runtime)
        finally:
            self._running -= 1

    async def _compile(self, module: bytes, *, runtime: bool) -> CompiledModule | CompileError:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "workers.executor.compile", self._jail, "runtime" if runtime else "module"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=_SOURCE_ROOT,
            env={},
        )
        try:
            async with asyncio.timeout(RUNTIME_WALL_SECONDS_MAX if runtime else WALL_SECONDS_MAX):
                frame = await _converse(process, module)
                code = await process.wait()
        except TimeoutError:
            return _limit_error("time")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return _verdict(frame, code)


async def _converse(process: asyncio.subprocess.Process, module: bytes) -> bytes | None:
    """Send the module, return the answer, or None when the program died before it gave one."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(len(module).to_bytes(LENGTH_BYTES, "big"))
        process.stdin.write(module)
        await process.stdin.drain()
        process.stdin.close()
        length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
        if length > ANSWER_BYTES_MAX:
            message = f"the compile program announced an answer of {length} bytes"
            raise CompilerFailedError(message)
        return await process.stdout.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _limit_error(what: str) -> CompileError:
    message = f"compiling took more {what} than allowed: split very large functions, or strip what is not used"
    return CompileError(code=CompileErrorCode.COMPILE_LIMIT, message=message)


def _verdict(frame: bytes | None, code: int) -> CompiledModule | CompileError:
    if frame is None:
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return _limit_error("CPU time")
        if code in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGILL, -signal.SIGTRAP):
            # The engine gives up with an abort when an allocation fails.
            return _limit_error("memory")
        message = f"the compile program ended with code {code} and without an answer"
        raise CompilerFailedError(message)
    try:
        answer = msgspec.msgpack.decode(frame, type=CompileAnswer)
    except msgspec.DecodeError as error:
        message = "the compile program answered nonsense"
        raise CompilerFailedError(message) from error
    verdict = answer.compiled or answer.error
    if verdict is None:
        message = "the compile program could not enter its jail or start its engine"
        raise CompilerFailedError(message)
    return verdict
