"""Bytes by their SHA-256, in pieces: modules and what they compile to. Written once, never changed.

The app's role reads none of these tables: everything here needs Role.ENGINE.
"""

from typing import Final

import msgspec

from domain.model.limits import MIB
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)

# Small enough that a download or an upload never holds more in memory, big enough that 16 MiB are 16 round trips.
PIECE_BYTES: Final = 1 * MIB


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What a module compiled to: where its bytes are, and the platform's signature over module, engine and bytes."""

    artifact_digest: bytes
    signature: bytes


async def blob_put(conn: Connection, *, digest: bytes, content: bytes) -> None:
    """Store `content` under its SHA-256, unless it is there already."""
    cursor = await conn.execute(_QUERIES["blob_insert"], {"digest": digest, "size_bytes": len(content)})
    if cursor.rowcount == 0:
        return
    view = memoryview(content)
    for piece, start in enumerate(range(0, len(content), PIECE_BYTES)):
        await conn.execute(
            _QUERIES["piece_insert"],
            {"digest": digest, "piece": piece, "bytes": view[start : start + PIECE_BYTES]},
            binary=True,
        )


async def blob_size(conn: Connection, *, digest: bytes) -> int | None:
    """Return how many bytes are stored under `digest`; None when there are none."""
    cursor = await conn.execute(_QUERIES["blob_size"], {"digest": digest})
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def piece_get(conn: Connection, *, digest: bytes, piece: int) -> bytes | None:
    """Return piece number `piece` from 0; None behind the last."""
    cursor = await conn.execute(_QUERIES["piece_get"], {"digest": digest, "piece": piece}, binary=True)
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def artifact_insert(
    conn: Connection, *, module_digest: bytes, engine_key: str, artifact_digest: bytes, signature: bytes
) -> None:
    """Remember an artifact whose bytes are stored; one that is there for this engine stays."""
    await conn.execute(
        _QUERIES["artifact_insert"],
        {
            "module_digest": module_digest,
            "engine_key": engine_key,
            "artifact_digest": artifact_digest,
            "signature": signature,
        },
    )


async def artifact_get(conn: Connection, *, module_digest: bytes, engine_key: str) -> Artifact | None:
    """Return the artifact of a module for an engine."""
    cursor = await conn.execute(_QUERIES["artifact_get"], {"module_digest": module_digest, "engine_key": engine_key})
    row = await cursor.fetchone()
    return None if row is None else Artifact(artifact_digest=bytes(row[0]), signature=bytes(row[1]))


async def modules_without_artifact(conn: Connection, *, engine_key: str, after: bytes, limit: int) -> list[bytes]:
    """Return up to `limit` digests above `after`, ascending, of modules to compile for this engine."""
    cursor = await conn.execute(
        _QUERIES["modules_without_artifact"], {"engine_key": engine_key, "after": after, "limit": limit}
    )
    return [bytes(row[0]) for row in await cursor.fetchall()]
