"""Find the casts that should be on the wire and are not. Redis may lose everything at any moment; Postgres knows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.close import job_of_row
from domain.model.ids import cast_id
from domain.model.messages import CastJob, Pool
from domain.store import settlement as store
from domain.store.connection import Connection

# An api puts what it accepted on the wire within 100 ms; what is older and not there was lost or never sent.
AGE_MIN: Final = timedelta(seconds=2)
CHUNK: Final = 1_000
FIRST: Final = UUID(int=0)


class Meant(msgspec.Struct, frozen=True, kw_only=True):
    """What should be on the wire: these casts, in order of their ids, and for some of them the sign to stop."""

    cast_ids: list[UUID]
    stopping: list[UUID]


async def meant_for_wire(connection: Connection, pool: Pool, *, now: datetime, after: UUID = FIRST) -> Meant:
    """Return the next CHUNK open casts of `pool` that are meant to be on the wire, beginning after an id.

    `now` is Postgres' clock. The caller asks the wire which of them are missing and passes those to `jobs`; the signs
    to stop it puts up whether missing or not, for an api may die between its COMMIT and telling the workers.
    """
    newest = cast_id(int((now - AGE_MIN).timestamp() * 1000), sequence=0, entropy=bytes(8))
    found = await store.meant_for_wire(connection, pool, after=after, before=newest, limit=CHUNK)
    return Meant(cast_ids=[one for one, _ in found], stopping=[one for one, stopping in found if stopping])


async def jobs(connection: Connection, cast_ids: Sequence[UUID], *, token_key: bytes) -> list[CastJob]:
    """Return the jobs of those of `cast_ids` that are still open."""
    return [job_of_row(cast, token_key) for cast in await store.jobs(connection, cast_ids)]
