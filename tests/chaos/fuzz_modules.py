"""Damaged modules through the product's compile program and, where they compile, through an executor's child.

`python -m tests.chaos.fuzz_modules` is the jailed end: the compile program's own steps for many modules one after the
other, because starting Python and the engine takes longer than looking at one. Whatever ends it is given to the true
program, one process for one module, and so is every fiftieth module anyway: both must say the same.
"""

import asyncio
import hashlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import msgspec

from domain.model.artifacts import artifact_file_name, artifact_statement, signature_file_name
from domain.model.limits import KIB, MIB, MODULE_BYTES_MAX, CastLimits
from domain.model.messages import Outcome
from gateways.compiler import LENGTH_BYTES, CompileAnswer, CompiledModule, CompileError, Compiler, CompilerFailedError
from gateways.signing import Signer, generate_key_pair
from tests.chaos.damage import Seeds, damaged
from workers.executor import compile as compile_program
from workers.executor.engine import engine_version, make_engine
from workers.executor.jail import enter, lower_limit
from workers.executor.parent import OVERRUN_SECONDS, Executor, ExecutorConfig
from workers.executor.process import START_SECONDS_MAX
from workers.executor.protocol import ExecuteRequest, JailMode

REPOSITORY = Path(__file__).parents[2]
# One that takes longer is given to the true program, which has limits of its own.
PATIENCE_SECONDS = 60.0
# A fresh process takes over then; RLIMIT_CPU counts the whole life of one.
MODULES_A_PROCESS = 1_000
CPU_SECONDS_A_PROCESS = 600
COMPARE_EVERY = 50
CAST_LIMITS = CastLimits(fuel=20_000_000, wall_ms=500, memory_bytes=16 * MIB, output_bytes=64 * KIB, log_bytes=4 * KIB)
# Its limit, the parent's patience, and a new child where the old one had to go.
CAST_SECONDS_MAX = CAST_LIMITS.wall_ms / 1000 + OVERRUN_SECONDS + START_SECONDS_MAX
# The ends that a guest may bring about. A crash of its sandbox is none of them, nor is a fault of the platform.
GUEST_OUTCOMES = frozenset(
    {
        *(Outcome.SUCCEEDED, Outcome.EXIT_NONZERO, Outcome.TRAP, Outcome.FUEL_EXHAUSTED),
        *(Outcome.MEMORY_EXCEEDED, Outcome.OUTPUT_TOO_LARGE, Outcome.WALL_TIME_EXCEEDED),
    }
)


def serve() -> None:
    """Answer modules until the other end closes: what `compile_program.main` does, again and again in one jail."""
    lower_limit(resource.RLIMIT_CPU, CPU_SECONDS_A_PROCESS)
    engine = make_engine()
    engine_version()
    enter(
        JailMode.REQUIRED,
        parent_pid=os.getppid(),
        readable_folder=None,
        write_descriptors=(1,),
        moves_cpu_limit=False,
        address_space_bytes=compile_program.ADDRESS_SPACE_BYTES_MAX,
        start_threads=lambda: None,
    )
    while True:
        length = int.from_bytes(compile_program._read_exactly(LENGTH_BYTES), "big")
        module = compile_program._read_exactly(length)
        try:
            compiled = compile_program.compile_module(engine, module, bytes_max=MODULE_BYTES_MAX)
            compile_program._answer(CompileAnswer(compiled=compiled))
        except compile_program.RefusedError as refused:
            compile_program._answer(CompileAnswer(error=refused.error))


class JailedCompiler:
    """The near end of a process that runs `serve`."""

    def __init__(self) -> None:
        self.deaths: Counter[str] = Counter()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._left = 0

    def compile(self, module: bytes) -> CompiledModule | CompileError | None:
        """Return the verdict, None when the process died or fell silent; the next module gets a fresh one."""
        if self._left == 0:
            self.end()
            self._start()
        self._left -= 1
        try:
            return self._converse(module)
        except (EOFError, TimeoutError, ConnectionError) as error:
            self.deaths["silence" if isinstance(error, TimeoutError) else f"exit {self.end()}"] += 1
            self.end()
            return None

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.chaos.fuzz_modules"]
            self._process = subprocess.Popen(
                command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, cwd=REPOSITORY, env={}
            )
        self._socket.settimeout(PATIENCE_SECONDS)
        self._left = MODULES_A_PROCESS

    def _converse(self, module: bytes) -> CompiledModule | CompileError:
        assert self._socket is not None
        self._socket.sendall(len(module).to_bytes(LENGTH_BYTES, "big") + module)
        answer = msgspec.msgpack.decode(self._read(int.from_bytes(self._read(LENGTH_BYTES), "big")), type=CompileAnswer)
        verdict = answer.compiled or answer.error
        assert verdict is not None, "an answer is one of the two"
        return verdict

    def _read(self, count: int) -> bytes:
        assert self._socket is not None
        data = bytearray()
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def end(self) -> int | None:
        """Kill the process and return its exit code; it may have gone by itself a moment ago."""
        self._left = 0
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is None:
            return None
        try:
            # Who closed the socket by dying is about to have an exit code of its own.
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = None
        return code


class Caster:
    """Casts what compiled, in a child of the product's executor that gets only what is signed."""

    def __init__(self, folder: Path) -> None:
        # The child becomes another user and must still read here.
        folder.chmod(0o755)
        keys = generate_key_pair()
        self._folder = folder
        self._signer = Signer(keys.signing_key)
        self.executor = Executor(ExecutorConfig(artifact_folder=folder, verify_key=keys.verify_key))
        self.executor.start()

    def cast(self, compiled: CompiledModule, number: int) -> tuple[Outcome, str]:
        digest, key = compiled.digest, compiled.engine_key
        statement = artifact_statement(digest=digest, engine_key=key, artifact_sha256=compiled.artifact_sha256)
        signature = self._folder / signature_file_name(digest, key)
        artifact = self._folder / artifact_file_name(digest, key)
        signature.write_bytes(self._signer.sign(statement))
        artifact.write_bytes(compiled.artifact)
        request = ExecuteRequest(cast_id=UUID(int=number), digest=digest, limits=CAST_LIMITS, input=b'{"text": "a b"}')
        try:
            result = self.executor.run(request)
        finally:
            artifact.unlink()
            signature.unlink()
        return result.outcome, result.message


class Fuzz:
    """One run: counts what became of the modules, and keeps what must not have happened under `violations`."""

    def __init__(self, folder: Path, seed: str) -> None:
        self._seed = seed
        self._seeds = Seeds()
        self._compiler = JailedCompiler()
        self._caster = Caster(folder)
        self.modules = 0
        self.compared = 0
        self.refused: Counter[str] = Counter()
        self.cast: Counter[str] = Counter()
        self.killers: list[int] = []
        """Numbers of the modules that the jailed process did not survive: contained, but worth a look."""
        self.violations: list[str] = []
        self.seconds = 0.0
        self.slowest_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._compiler.end()
        self._caster.executor.close()

    def run(self, count: int) -> None:
        started = time.monotonic()
        for number in range(count):
            before = time.monotonic()
            self._one(number)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - before)
        self.seconds = time.monotonic() - started

    def _one(self, number: int) -> None:
        module = damaged(self._seeds, self._seed, number)
        self.modules += 1
        verdict = self._compiler.compile(module)
        if verdict is None:
            self.killers.append(number)
        if verdict is None or number % COMPARE_EVERY == 0:
            verdict = self._by_true_program(number, module, verdict)
        if isinstance(verdict, CompileError):
            self.refused[str(verdict.code)] += 1
            if not verdict.message.strip():
                self._violated(number, f"refused as {verdict.code} without a message")
        elif verdict is not None:
            self._cast(number, module, verdict)

    def _by_true_program(
        self, number: int, module: bytes, fast: CompiledModule | CompileError | None
    ) -> CompiledModule | CompileError | None:
        self.compared += 1
        try:
            verdict = asyncio.run(Compiler().compile(module))
        except CompilerFailedError as error:
            self._violated(number, f"the compile program failed: {error}")
            return None
        if fast is not None and fast != verdict:
            self._violated(number, f"{fast!r:.200} in one process, {verdict!r:.200} in another")
        return verdict

    def _cast(self, number: int, module: bytes, compiled: CompiledModule) -> None:
        if compiled.digest != hashlib.sha256(module).digest():
            self._violated(number, "the digest is another module's")
        started = time.monotonic()
        outcome, message = self._caster.cast(compiled, number)
        self.cast[str(outcome)] += 1
        if time.monotonic() - started > CAST_SECONDS_MAX:
            self._violated(number, f"its cast took {time.monotonic() - started:.1f} s")
        if outcome not in GUEST_OUTCOMES or (outcome is not Outcome.SUCCEEDED and not message):
            self._violated(number, f"its cast ended as {outcome}: {message!r}")

    def _violated(self, number: int, what: str) -> None:
        self.violations.append(f"module {number} of seed {self._seed}: {what}")

    def report(self) -> str:
        rate = self.modules / max(self.seconds, 0.001)
        lost = f"compiling {dict(self._compiler.deaths)}, casting {self._caster.executor.child_deaths}"
        lines = [
            f"{self.modules:,} modules of seed {self._seed}, {rate:.0f} a second, slowest {self.slowest_seconds:.2f} s",
            f"  refused {self.refused.total():,}: {dict(self.refused.most_common())}",
            f"  cast {self.cast.total():,}: {dict(self.cast.most_common())}",
            f"  {self.compared:,} by the true program; children lost {lost}, by modules {self.killers}",
        ]
        return "\n".join([*lines, *self.violations])


if __name__ == "__main__":
    serve()
