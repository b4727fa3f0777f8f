"""News from Stripe: kept, taken under a lease, and done with. Needs Role.ENGINE."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from psycopg.rows import class_row

from domain.model.stripe_events import StripeEvent
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class TakenEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event under a lease of ours."""

    id: str
    type: str
    object_id: str | None
    customer_id: str | None
    connected_account_id: str | None
    attempts: int
    """This one included."""
    asked_at: datetime
    """Stripe is asked after this instant, so its answer knows of everything that was told before."""


class ParkedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that waits for a person."""

    id: str
    type: str
    object_id: str | None
    customer_id: str | None
    received_at: datetime
    attempts: int
    trouble: str | None


class InboxStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How the inbox stands."""

    pending: int
    overdue_s: int
    parked: int


async def event_insert(conn: Connection, event: StripeEvent, *, now: datetime) -> bool:
    """Keep an event; False when it is kept already."""
    cursor = await conn.execute(_QUERIES["event_insert"], {**msgspec.structs.asdict(event), "now": now})
    return cursor.rowcount == 1


async def events_claim(
    conn: Connection, *, types: Sequence[str], limit: int, lease: timedelta, now: datetime | None
) -> list[TakenEvent]:
    """Take up to `limit` due events of these types; `now` is Postgres' clock unless given."""
    async with conn.cursor(row_factory=class_row(TakenEvent)) as cursor:
        await cursor.execute(
            _QUERIES["events_claim"], {"types": list(types), "limit": limit, "lease": lease, "now": now}
        )
        return await cursor.fetchall()


async def events_ignore(conn: Connection, *, types: Sequence[str], limit: int) -> int:
    """Put away up to `limit` pending events of other types than these; return how many."""
    cursor = await conn.execute(_QUERIES["events_ignore"], {"types": list(types), "limit": limit})
    return cursor.rowcount


async def events_revive(conn: Connection, *, types: Sequence[str], within: timedelta) -> int:
    """Take up what was ignored lately and is of these types; return how many."""
    cursor = await conn.execute(_QUERIES["events_revive"], {"types": list(types), "within": within})
    return cursor.rowcount


async def events_finish(conn: Connection, *, ids: Sequence[str]) -> None:
    """Be done with these events."""
    await conn.execute(_QUERIES["events_finish"], {"ids": list(ids)})


async def events_delay(
    conn: Connection, *, ids: Sequence[str], pause_s: int, trouble: str, counted: bool, now: datetime
) -> None:
    """Try these again `pause_s` after `now`."""
    await conn.execute(
        _QUERIES["events_delay"],
        {"ids": list(ids), "pause_s": pause_s, "trouble": trouble, "counted": counted, "now": now},
    )


async def events_park(conn: Connection, *, ids: Sequence[str], trouble: str) -> None:
    """Leave these to a person."""
    await conn.execute(_QUERIES["events_park"], {"ids": list(ids), "trouble": trouble})


async def events_unpark(conn: Connection, *, ids: Sequence[str] | None) -> int:
    """Begin anew with these parked events, or with all; return how many."""
    cursor = await conn.execute(_QUERIES["events_unpark"], {"ids": None if ids is None else list(ids)})
    return cursor.rowcount


async def events_parked(conn: Connection, *, limit: int) -> list[ParkedEvent]:
    """Return what waits for a person, oldest first."""
    async with conn.cursor(row_factory=class_row(ParkedEvent)) as cursor:
        await cursor.execute(_QUERIES["events_parked"], {"limit": limit})
        return await cursor.fetchall()


async def standing_read(conn: Connection) -> InboxStanding:
    """Return how the inbox stands."""
    cursor = await conn.execute(_QUERIES["standing_read"])
    row = await cursor.fetchone()
    assert row is not None, "an aggregate has one row"
    return InboxStanding(pending=row[0], overdue_s=row[1], parked=row[2])


async def events_trim(conn: Connection, *, before: datetime, limit: int) -> int:
    """Delete up to `limit` events that were done with before then; return how many."""
    cursor = await conn.execute(_QUERIES["events_trim"], {"before": before, "limit": limit})
    return cursor.rowcount
