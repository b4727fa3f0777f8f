"""Spells and their versions. Across accounts, because a spell is seen by others: everything here needs Role.ENGINE."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """A spell; `owner` is the handle of its account."""

    id: UUID
    account_id: UUID
    owner: str
    name: str
    description: str
    visibility: str
    suspended_at: datetime | None
    created_at: datetime
    deprecation: str | None = None
    """Why its creator advises against it."""

    def seen_by(self, account_id: UUID | None) -> bool:
        """Tell whether this account, or nobody in particular, may know that the spell exists."""
        return self.visibility != "private" or self.account_id == account_id


class SpellVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A published version. `manifest` is the JSON text it was published with."""

    id: UUID
    spell_id: UUID
    account_id: UUID
    version: str
    digest: bytes
    size_bytes: int
    manifest: str
    imports: list[str]
    creator_price_micros: int
    yanked_at: datetime | None
    created_at: datetime
    deprecation: str | None = None
    """Why its creator advises against it."""


async def spell_insert(
    conn: Connection,
    *,
    spell_id: UUID,
    account_id: UUID,
    name: str,
    description: str,
    visibility: str,
    now: datetime,
) -> bool:
    """Make a spell; False when the owner has one of that name, which stays as it is."""
    cursor = await conn.execute(
        _QUERIES["spell_insert"],
        {
            "id": spell_id,
            "account_id": account_id,
            "name": name,
            "description": description,
            "visibility": visibility,
            "now": now,
        },
    )
    return cursor.rowcount == 1


async def spell_lock(conn: Connection, *, account_id: UUID, name: str) -> UUID | None:
    """Lock an owner's spell until the transaction ends, and return its id."""
    cursor = await conn.execute(_QUERIES["spell_lock"], {"account_id": account_id, "name": name})
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def spell_get(conn: Connection, *, owner: str, name: str) -> Spell | None:
    """Return a spell by its owner's handle and its name; the caller checks `seen_by`."""
    async with conn.cursor(row_factory=class_row(Spell)) as cursor:
        await cursor.execute(_QUERIES["spell_get"], {"owner": owner, "name": name})
        return await cursor.fetchone()


async def spell_update(
    conn: Connection, *, spell_id: UUID, description: str, visibility: str, deprecation: str | None
) -> None:
    """Change a spell's words and who sees it."""
    await conn.execute(
        _QUERIES["spell_update"],
        {"id": spell_id, "description": description, "visibility": visibility, "deprecation": deprecation},
    )


async def spells_list(
    conn: Connection,
    *,
    viewer: UUID | None,
    text: str | None,
    tag: str | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Spell]:
    """Return up to `limit` spells `viewer` may see, newest first; `text` is looked for in owner, name, description."""
    before_at, before_id = before if before is not None else (None, None)
    parameters = {
        "viewer": viewer,
        "text": text,
        "tag": tag,
        "before_at": before_at,
        "before_id": before_id,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(Spell)) as cursor:
        await cursor.execute(_QUERIES["spells_list"], parameters)
        return await cursor.fetchall()


async def version_insert(conn: Connection, version: SpellVersion) -> None:
    """Write a version whose module is stored; a second one of that name is an error."""
    await conn.execute(_QUERIES["version_insert"], {**msgspec.structs.asdict(version), "now": version.created_at})


async def version_get(conn: Connection, *, spell_id: UUID, version: str) -> SpellVersion | None:
    """Return the version with exactly this name, yanked or not."""
    return await _version(conn, "version_get", {"spell_id": spell_id, "version": version})


async def version_by_digest(conn: Connection, *, spell_id: UUID, digest: bytes) -> SpellVersion | None:
    """Return the version with this module, yanked or not."""
    return await _version(conn, "version_by_digest", {"spell_id": spell_id, "digest": digest})


async def versions_list(conn: Connection, *, spell_id: UUID) -> list[SpellVersion]:
    """Return every version, newest first."""
    async with conn.cursor(row_factory=class_row(SpellVersion)) as cursor:
        await cursor.execute(_QUERIES["versions_list"], {"spell_id": spell_id})
        return await cursor.fetchall()


async def versions_offered(conn: Connection, *, spell_id: UUID) -> list[str]:
    """Return the names a range may resolve to: all that are not yanked."""
    cursor = await conn.execute(_QUERIES["versions_offered"], {"spell_id": spell_id})
    return [row[0] for row in await cursor.fetchall()]


async def versions_count(conn: Connection, *, spell_id: UUID) -> int:
    """Return how many versions there are, yanked ones too."""
    cursor = await conn.execute(_QUERIES["versions_count"], {"spell_id": spell_id})
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def version_yank(conn: Connection, *, spell_id: UUID, version: str, now: datetime) -> bool:
    """Take a version out of ranges; True when there is one, also when it was yanked before."""
    cursor = await conn.execute(_QUERIES["version_yank"], {"spell_id": spell_id, "version": version, "now": now})
    return cursor.rowcount == 1


async def version_unyank(conn: Connection, *, spell_id: UUID, version: str) -> None:
    """Bring a version back into ranges."""
    await conn.execute(_QUERIES["version_unyank"], {"spell_id": spell_id, "version": version})


async def version_deprecate(conn: Connection, *, spell_id: UUID, version: str, deprecation: str | None) -> None:
    """Say why not to use a version; None takes it back."""
    await conn.execute(
        _QUERIES["version_deprecate"], {"spell_id": spell_id, "version": version, "deprecation": deprecation}
    )


async def versions_yank_all(conn: Connection, *, spell_id: UUID, now: datetime) -> int:
    """Take every version out of ranges, and return how many that changed."""
    cursor = await conn.execute(_QUERIES["versions_yank_all"], {"spell_id": spell_id, "now": now})
    return cursor.rowcount


async def _version(conn: Connection, query: str, parameters: dict[str, Any]) -> SpellVersion | None:
    async with conn.cursor(row_factory=class_row(SpellVersion)) as cursor:
        await cursor.execute(_QUERIES[query], parameters)
        return await cursor.fetchone()
