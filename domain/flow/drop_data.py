"""Forget what casts read and wrote once their account's time is over. What they were, used and cost stays for ever."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.store import retention as store
from domain.store.connection import Connection

# Emptied in tens of milliseconds: no statement behind it waits for longer than that.
DROP_AT_ONCE_MAX: Final = 1_000


async def drop_expired(connection: Connection, *, now: datetime) -> int:
    """Empty at most DROP_AT_ONCE_MAX casts whose data has expired; return how many. Run it until it finds fewer."""
    ids = await store.lock_expired(connection, now=now, limit=DROP_AT_ONCE_MAX)
    if ids:
        await store.drop_data(connection, ids=ids)
    return len(ids)


async def drop_read(connection: Connection, ids: Sequence[UUID]) -> int:
    """Empty those of `ids`, just read, whose data was kept until then; return how many. Others are left as they are."""
    locked = await store.lock_read(connection, ids=ids)
    if locked:
        await store.drop_data(connection, ids=locked)
    return len(locked)
