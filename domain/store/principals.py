"""Who stands behind an API key."""

from typing import Final
from uuid import UUID

import msgspec

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class KeyOwner(msgspec.Struct, frozen=True, kw_only=True):
    """A key and its account, as they stand now."""

    prefix: str
    key_id: UUID
    account_id: UUID
    secret_hash: str
    """Argon2id of the whole key."""
    scopes: frozenset[str]
    rate_limit_rpm: int | None
    handle: str
    alive: bool
    """Neither revoked nor expired."""
    active: bool
    """The account is not suspended."""
    allowed_origins: frozenset[str] = frozenset()
    """Of the web pages that may use the key; empty: all."""
    superseded: bool = False
    """This is the secret before the last rotation, in its grace."""
    budgets: str | None = None
    """Hard ones that bind it, with their windows of now, as JSON for `tightest_standing`; None without any."""


async def principals_by_prefix(connection: Connection, *, prefixes: list[str]) -> dict[str, KeyOwner]:
    """Return the keys that exist among `prefixes`, by prefix. The connection's role must see all accounts."""
    cursor = await connection.execute(_QUERIES["principals_by_prefix"], {"prefixes": prefixes})
    return {
        row[0]: KeyOwner(
            prefix=row[0],
            key_id=row[1],
            account_id=row[2],
            secret_hash=row[3],
            scopes=frozenset(row[4]),
            rate_limit_rpm=row[5],
            handle=row[6],
            alive=row[7],
            active=row[8],
            allowed_origins=frozenset(row[9]),
            superseded=row[10],
            budgets=row[11],
        )
        for row in await cursor.fetchall()
    }


async def origins_allowed(connection: Connection, *, origins: list[str]) -> set[str]:
    """Return those of `origins` that some living key allows. The connection's role must see all accounts."""
    cursor = await connection.execute(_QUERIES["origins_allowed"], {"origins": origins})
    return {row[0] for row in await cursor.fetchall()}
