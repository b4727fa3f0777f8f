"""Find the casts that should be on the wire and are not. Redis may lose everything at any moment; Postgres knows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.flow.close import job_of_row
from domain.model.ids import cast_id
from domain.model.messages import CastJob, Pool
from domain.store import settlement as store
from domain.store.connection import Connection

# An api puts what it accepted on the wire within 100 ms; what is older and not there was lost or never sent.
AGE_MIN: Final = timedelta(seconds=2)
CHUNK: Final = 1_000
FIRST: Final = UUID(int=0)


async def meant_for_wire(connection: Connection, pool: Pool, *, now: datetime, after: UUID = FIRST) -> list[UUID]:
    """Return the next CHUNK open casts of `pool` that are meant to be on the wire, in order, beginning after an id.

    `now` is Postgres' clock. The caller asks the wire which of them are missing and passes those to `jobs`.
    """
    newest = cast_id(int((now - AGE_MIN).timestamp() * 1000), sequence=0, entropy=bytes(8))
    return await store.meant_for_wire(connection, pool, after=after, before=newest, limit=CHUNK)


async def jobs(connection: Connection, cast_ids: Sequence[UUID], *, token_key: bytes) -> list[CastJob]:
    """Return the jobs of those of `cast_ids` that are still open."""
    return [job_of_row(cast, token_key) for cast in await store.jobs(connection, cast_ids)]


async def cancel_requested(connection: Connection, cast_ids: Sequence[UUID]) -> list[UUID]:
    """Return which of `cast_ids` are to be stopped: their sign on the wire is put up again with the job."""
    return await store.cancel_requested(connection, cast_ids)
