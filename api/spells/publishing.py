"""From the bytes of a module to a published version: check, compile in a process apart, sign, store, publish."""

import asyncio
import base64
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID, uuid4

import msgspec

from api.errors import overloaded
from api.spells.schemas import compile_schema
from domain.flow.publish import NewVersion, Publication, publish, published
from domain.flow.store_module import CompiledModule as StoredModule
from domain.flow.store_module import store_module
from domain.model.artifacts import artifact_statement
from domain.model.audit import Actor
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.manifest import Manifest, check_place, limits_max, parse_manifest
from domain.model.versions import Version
from domain.store.connection import Connection, LockTimeoutError, Pool, SerializationError, transaction
from gateways.compiler import CompiledModule, CompileError, Compiler, CompilerBusyError, CompilerFailedError
from gateways.signing import Signer

_logger: Final = logging.getLogger(__name__)
# Somebody publishes the same module or spell at this moment; each attempt waits for the session's lock timeout.
ATTEMPTS_MAX: Final = 8
# Each holds a body of up to 16 MiB while it is uploaded and compiled: 128 MiB in all.
UPLOADS_MAX: Final = 8
# One account that sends slowly must leave places for others.
UPLOADS_PER_ACCOUNT_MAX: Final = 2
# SPELL_JAIL as the compile program calls it: take what the kernel offers, or refuse to work without the whole jail.
COMPILER_JAIL: Final = {"available": "auto", "required": "required"}
# A compiler that is busy is free again within seconds for ordinary modules.
BUSY_RETRY_AFTER_S: Final = 5

Result = TypeVar("Result")


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to publish. `manifest` None: it is in the module's section `spell.manifest`, or missing."""

    account_id: UUID
    owner: str
    name: str
    version: Version
    module: bytes
    actor: Actor
    manifest: bytes | None = None
    runtime: bool = False
    """An interpreter of the operator: larger, and compiled with more of everything."""
    numbered_by_us: bool = False
    """A module of the operator's folder: what its manifest says of name and version does not count."""


def signer_of(seed: bytes) -> Signer:
    """Return the signer whose Ed25519 seed are these 32 bytes of ARTIFACT_SIGNING_KEY."""
    return Signer(base64.b64encode(seed).decode("ascii"))


class Publisher:
    """Publishes versions. Holds the signing key, so it lives where publishing compiles and nowhere else."""

    def __init__(self, engine_pool: Pool, *, compiler: Compiler, signer: Signer, now: Callable[[], datetime]) -> None:
        self._pool = engine_pool
        self._compiler = compiler
        self._signer = signer
        self._now = now
        self._uploads: Counter[UUID] = Counter()

    @contextmanager
    def place(self, account_id: UUID) -> Generator[None]:
        """Take a place for a body before it is read. Raises RefusedError (overloaded) when all are taken."""
        if self._uploads.total() >= UPLOADS_MAX or self._uploads[account_id] >= UPLOADS_PER_ACCOUNT_MAX:
            busy = overloaded("Too many modules are being published. Nothing was read.", BUSY_RETRY_AFTER_S)
            raise RefusedError(busy)
        self._uploads[account_id] += 1
        try:
            yield
        finally:
            self._uploads[account_id] -= 1
            if not self._uploads[account_id]:
                del self._uploads[account_id]

    async def publish(self, upload: Upload) -> Publication:
        """Publish the version; the same again changes nothing.

        Raises RefusedError: validation (manifest), bad module (what the compiler says), version exists, conflict,
        overloaded (the compiler is busy or broken); StoreError.
        """
        digest = await asyncio.to_thread(_sha256, upload.module)
        manifest = None if upload.manifest is None else checked_manifest(upload.manifest)
        if manifest is not None:
            _check_place(upload, manifest)
        there = await self._published(upload, digest, manifest)
        if there is not None:
            return there
        compiled = await self.compile(upload.module, runtime=upload.runtime)
        if manifest is None:
            manifest = checked_manifest(compiled.manifest or b"{}")
            _check_place(upload, manifest)
        _check_memory(compiled, manifest)
        await self.store(upload.module, compiled)
        new = NewVersion(
            id=uuid4(),
            spell_id=uuid4(),
            account_id=upload.account_id,
            name=upload.name,
            version=upload.version,
            digest=digest,
            size_bytes=len(upload.module),
            imports=compiled.imports,
            manifest=manifest,
        )
        return await self._transact(lambda connection: publish(connection, new, actor=upload.actor, now=self._now()))

    async def compile(self, module: bytes, *, runtime: bool = False) -> CompiledModule:
        """Return the compiled module. Raises RefusedError: bad module, overloaded."""
        try:
            verdict = await self._compiler.compile(module, runtime=runtime)
        except CompilerBusyError as error:
            busy = overloaded("Other modules are being compiled. Nothing was published.", BUSY_RETRY_AFTER_S)
            raise RefusedError(busy) from error
        except CompilerFailedError as error:
            _logger.exception("the compile program failed")
            broken = overloaded("The compiler does not work at the moment. Nothing was published.", BUSY_RETRY_AFTER_S)
            raise RefusedError(broken) from error
        if isinstance(verdict, CompileError):
            fault = Fault(location=f"module: {verdict.code}", message=verdict.message, fix="Build the module anew.")
            raise refuse(Code.BAD_MODULE, f"The module cannot be published: {verdict.message}.", faults=(fault,))
        return verdict

    async def store(self, module: bytes, compiled: CompiledModule) -> None:
        """Store the module and its artifact under the platform's signature, unless they are there."""
        statement = artifact_statement(
            digest=compiled.digest, engine_key=compiled.engine_key, artifact_sha256=compiled.artifact_sha256
        )
        stored = StoredModule(
            digest=compiled.digest,
            module=module,
            engine_key=compiled.engine_key,
            artifact_digest=compiled.artifact_sha256,
            artifact=compiled.artifact,
            signature=self._signer.sign(statement),
        )
        await self._transact(lambda connection: store_module(connection, stored))

    async def _published(self, upload: Upload, digest: bytes, manifest: Manifest | None) -> Publication | None:
        async with transaction(self._pool) as connection:
            version = await published(
                connection,
                owner=upload.owner,
                name=upload.name,
                version=upload.version,
                digest=digest,
                manifest=manifest,
            )
        return None if version is None else Publication(version=version, made=False)

    async def _transact(self, work: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Do `work` in a transaction; again when somebody else was at the same rows."""
        attempt = 1
        while True:
            try:
                async with transaction(self._pool) as connection:
                    return await work(connection)
            except (LockTimeoutError, SerializationError):
                if attempt == ATTEMPTS_MAX:
                    raise
                attempt += 1


def checked_manifest(raw: bytes) -> Manifest:
    """Return the manifest with its schemas compiled once, to know that they can be. Raises RefusedError."""
    manifest = parse_manifest(raw)
    for location, schema in (("input_schema", manifest.input_schema), ("output_schema", manifest.output_schema)):
        if bytes(schema):
            compile_schema(bytes(schema), location)
    return manifest


def _check_place(upload: Upload, manifest: Manifest) -> None:
    if not upload.numbered_by_us:
        check_place(manifest, name=upload.name, version=str(upload.version))


def _check_memory(compiled: CompiledModule, manifest: Manifest) -> None:
    bound = limits_max(manifest).memory_bytes
    if compiled.memory_bytes_minimum > bound:
        fault = Fault(
            location="manifest.limits.memory_bytes",
            message=f"the module begins with {compiled.memory_bytes_minimum} bytes of memory, more than {bound}",
            fix="Raise the limit, or build the module with less memory.",
        )
        raise refuse(Code.BAD_MODULE, f"The module cannot be published: {fault.message}.", faults=(fault,))


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
