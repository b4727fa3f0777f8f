"""Forget what casts read and wrote once their account's time is over. What they were, used and cost stays for ever."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.model.limits import MIB
from domain.store import retention as store
from domain.store.connection import Connection

# Rows and bytes of one piece: emptied in 30 ms (measured), a small part of what a statement may take. A
# single cast may have 18 MiB and go over.
DROP_AT_ONCE_MAX: Final = 1_000
DROP_BYTES_AT_ONCE_MAX: Final = 64 * MIB


async def drop_expired(connection: Connection, *, now: datetime) -> int:
    """Empty a piece of the casts whose data has expired, oldest first; return how many. Run it until it finds none."""
    ids: list[UUID] = []
    room_bytes = DROP_BYTES_AT_ONCE_MAX
    for cast_id, size_bytes in await store.lock_expired(connection, now=now, limit=DROP_AT_ONCE_MAX):
        room_bytes -= size_bytes
        if ids and room_bytes < 0:
            break
        ids.append(cast_id)
    if ids:
        await store.drop_data(connection, ids=ids)
    return len(ids)


async def drop_read(connection: Connection, ids: Sequence[UUID]) -> int:
    """Empty those of `ids`, just read, whose data was kept until then; return how many. Others are left as they are."""
    locked = await store.lock_read(connection, ids=ids)
    if locked:
        await store.drop_data(connection, ids=locked)
    return len(locked)
