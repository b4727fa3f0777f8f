"""One module in the executor of production, on this machine and without a platform: compile, sign, jail, run.

The compile program, the signature and the jailed child are the workers' own; only the key is made here and thrown away.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec

from domain.model.artifacts import artifact_file_name, artifact_statement, signature_file_name
from domain.model.limits import CastLimits
from gateways.compiler import CompileError, Compiler, CompilerFailedError
from gateways.signing import Signer, generate_key_pair
from spell.building.compile import cache_folder
from spell.exits import CommandError
from workers.executor.parent import Executor, ExecutorConfig, ExecutorFacts, ExecutorStartError
from workers.executor.protocol import ExecuteRequest, ExecuteResult, JailMode


class LocalExecutor(msgspec.Struct, frozen=True, kw_only=True):
    """A child that has one module at hand."""

    executor: Executor
    facts: ExecutorFacts
    digest: bytes

    def run(self, stdin: bytes, limits: CastLimits) -> ExecuteResult:
        """Run the module once, in a sandbox of its own."""
        return self.executor.run(ExecuteRequest(cast_id=uuid4(), digest=self.digest, limits=limits, input=stdin))

    @property
    def missing_layers(self) -> list[str]:
        """What of the jail this machine cannot give, and why."""
        return [f"{layer.name} ({layer.detail})" for layer in self.facts.jail if layer.essential and not layer.active]


@contextmanager
def local_executor(module: bytes, *, runtime: bool = False, environ: Mapping[str, str]) -> Generator[LocalExecutor]:
    """Compile a module and start a child that can run it. Raises CommandError: what is wrong with module or machine.

    `runtime` is an interpreter: larger, compiled with more of everything, and its machine code kept for the next time.
    SPELL_JAIL=required in `environ` refuses to run where the kernel lacks a part of the jail, as in production.
    """
    jail = JailMode.REQUIRED if environ.get("SPELL_JAIL") == "required" else JailMode.AUTO
    pair = generate_key_pair()
    digest = hashlib.sha256(module).digest()
    with tempfile.TemporaryDirectory(prefix="spell-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # a child of root becomes another user
        executor = Executor(ExecutorConfig(artifact_folder=folder, verify_key=pair.verify_key, jail=jail))
        try:
            facts = executor.start()
            artifact = _artifact(module, digest, facts.engine_key, jail, runtime=runtime)
            _place(folder, digest, facts.engine_key, artifact, Signer(pair.signing_key))
            yield LocalExecutor(executor=executor, facts=facts, digest=digest)
        except ExecutorStartError as error:
            message = f"the sandbox cannot start here: {error}"
            raise CommandError(message) from error
        finally:
            executor.close()


def _artifact(module: bytes, digest: bytes, engine_key: str, jail: JailMode, *, runtime: bool) -> bytes:
    if not runtime:
        return _compile(module, jail, runtime=False)
    # An interpreter compiles for half a minute and never changes; it is this user's own file, made by this program.
    kept = cache_folder() / "artifacts" / artifact_file_name(digest, engine_key)
    if kept.is_file():
        return kept.read_bytes()
    artifact = _compile(module, jail, runtime=True)
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = kept.with_name(f".{uuid4().hex}.partial")
    partial.write_bytes(artifact)
    partial.replace(kept)
    return artifact


def _compile(module: bytes, jail: JailMode, *, runtime: bool) -> bytes:
    try:
        compiled = asyncio.run(Compiler(jail=jail.value).compile(module, runtime=runtime))
    except CompilerFailedError as error:
        message = f"the compile program does not work here: {error}; run `spell doctor`"
        raise CommandError(message) from error
    if isinstance(compiled, CompileError):
        message = f"the platform would refuse this module ({compiled.code}): {compiled.message}"
        raise CommandError(message)
    return compiled.artifact


def _place(folder: Path, digest: bytes, engine_key: str, artifact: bytes, signer: Signer) -> None:
    statement = artifact_statement(
        digest=digest, engine_key=engine_key, artifact_sha256=hashlib.sha256(artifact).digest()
    )
    for name, content in (
        (signature_file_name(digest, engine_key), signer.sign(statement)),
        (artifact_file_name(digest, engine_key), artifact),
    ):
        path = folder / name
        path.write_bytes(content)
        path.chmod(0o444)
