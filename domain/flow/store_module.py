"""Store a module and what it compiled to, before any version names them."""

import msgspec

from domain.store import blobs
from domain.store.connection import Connection


class CompiledModule(msgspec.Struct, frozen=True, kw_only=True):
    """A module, its artifact for one engine, and the platform's signature over both. Digests are SHA-256."""

    digest: bytes
    module: bytes
    engine_key: str
    artifact_digest: bytes
    artifact: bytes
    signature: bytes


async def store_module(conn: Connection, compiled: CompiledModule) -> None:
    """Store both under their digests, unless they are there. Needs Role.ENGINE.

    A transaction of its own, before `publish`: writing tens of megabytes under the lock of a spell would hold up its
    readers for nothing. Bytes that no version comes to name are harmless.
    """
    await blobs.blob_put(conn, digest=compiled.digest, content=compiled.module)
    await blobs.blob_put(conn, digest=compiled.artifact_digest, content=compiled.artifact)
    await blobs.artifact_insert(
        conn,
        module_digest=compiled.digest,
        engine_key=compiled.engine_key,
        artifact_digest=compiled.artifact_digest,
        signature=compiled.signature,
    )
