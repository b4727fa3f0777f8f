"""Make the bodies of deliveries: what an event says is kept in its row, or read from the cast it is about."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from domain.model.events import cast_data
from domain.model.webhooks import event_body
from domain.store.casts import version_names
from domain.store.connection import Connection
from domain.store.events import casts_read


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a row of `outgoing` says of its event, except to whom."""

    id: UUID
    event_type: str
    created_at: datetime
    cast_id: UUID | None
    payload: str | None


async def render_events(connection: Connection, rows: Sequence[Told], *, casts_url: str) -> dict[UUID, bytes]:
    """Return the body of each row by its id, JSON of `type`, `timestamp` and `data`. Needs Role.ENGINE.

    A body is the same at each attempt, until the cast's data expires. `casts_url` is the address all casts are under.
    A row whose cast is gone (its month was dropped) has no body and is missing in the answer.
    """
    wanted = {row.cast_id for row in rows if row.cast_id is not None and row.payload is None}
    casts = await casts_read(connection, ids=sorted(wanted)) if wanted else {}
    versions = sorted({cast.version_id for cast in casts.values()})
    names = await version_names(connection, ids=versions) if versions else {}
    bodies: dict[UUID, bytes] = {}
    for row in rows:
        if row.payload is not None:
            data = row.payload.encode()
        elif row.cast_id is not None and (cast := casts.get(row.cast_id)) is not None:
            data = cast_data(cast, names[cast.version_id], casts_url=casts_url)
        else:
            continue
        bodies[row.id] = event_body(row.event_type, created_at=row.created_at, data=data)
    return bodies
