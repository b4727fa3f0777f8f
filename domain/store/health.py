"""What `spell doctor` asks Postgres; on a connection of any role."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A Postgres server as its settings describe it."""

    version_number: int
    """Major version times 10,000, plus the minor one."""
    version: str
    fsync: bool
    synchronous_commit: str
    connections_max: int
    now: datetime


class RoleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A role that is there."""

    name: str
    may_be_taken: bool
    """By the login of this connection."""
    passes_row_security: bool


async def server_facts(connection: Connection) -> ServerFacts:
    """Return what the server says about itself."""
    row = await (await connection.execute(_QUERIES["server_read"])).fetchone()
    assert row is not None
    number, version, fsync, synchronous_commit, connections_max, now = row
    return ServerFacts(
        version_number=number,
        version=version,
        fsync=fsync,
        synchronous_commit=synchronous_commit,
        connections_max=connections_max,
        now=now,
    )


async def roles(connection: Connection, *, names: Sequence[str]) -> list[RoleFacts]:
    """Return those of the roles `names` that exist."""
    cursor = await connection.execute(_QUERIES["roles_read"], {"names": list(names)})
    return [
        RoleFacts(name=name, may_be_taken=may_be_taken, passes_row_security=passes)
        for name, may_be_taken, passes in await cursor.fetchall()
    ]
