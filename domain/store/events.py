"""What happened, written down for each who is told of it, and read again to be told."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from domain.model.events import EVENT_DATA_BYTES_MAX, CastEventRow, Event
from domain.store.connection import Connection
from domain.store.exchange import Sent, json_of, later
from domain.store.queries import load

_QUERIES: Final = load(__file__)
# Times the endpoints an account may have: 2,000 rows, a tenth of what a statement may take on a slow machine.
EVENTS_PER_STATEMENT_MAX: Final = 100


async def events_insert(connection: Connection, events: Sequence[Event]) -> None:
    """Write a row of `outgoing` for each receiver of each event. Needs the locks of the accounts."""
    await later(connection, *inserts(events))


def inserts(events: Sequence[Event]) -> list[Sent]:
    """Return the statements of `events_insert`, to be sent with others."""
    return [
        (_QUERIES["events_insert"], {"rows": json_of(events[first : first + EVENTS_PER_STATEMENT_MAX])})
        for first in range(0, len(events), EVENTS_PER_STATEMENT_MAX)
    ]


async def casts_read(connection: Connection, *, ids: Sequence[UUID]) -> dict[UUID, CastEventRow]:
    """Return those of these casts that exist, of any account, without data that no webhook carries."""
    async with connection.cursor(row_factory=class_row(CastEventRow), binary=True) as cursor:
        await cursor.execute(_QUERIES["casts_read"], {"ids": list(ids), "bytes_max": EVENT_DATA_BYTES_MAX})
        return {row.id: row for row in await cursor.fetchall()}
