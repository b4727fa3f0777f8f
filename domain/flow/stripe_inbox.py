"""News from Stripe: keep them, take them up, be done with them, or try again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from domain.model.stripe_events import ATTEMPTS_MAX, TROUBLE_CHARACTERS_MAX, StripeEvent, pause_s
from domain.store import stripe_events as store
from domain.store.connection import Connection
from domain.store.stripe_events import TakenEvent

IGNORED_AT_ONCE_MAX: Final = 1_000
# Stripe is away or asks for patience: one question every so often finds out when it is back.
AWAY_PAUSE_S: Final = 10


async def receive(conn: Connection, event: StripeEvent, *, now: datetime) -> bool:
    """Keep the event; False when it came before. Whoever sent it may be told so once this is committed."""
    return await store.event_insert(conn, event, now=now)


async def take(
    conn: Connection, *, types: Sequence[str], limit: int, lease: timedelta, now: datetime | None
) -> list[TakenEvent]:
    """Take due events of these types under a lease, and put away what is of none. Needs Role.ENGINE.

    After the lease they are due again, whatever became of who took them.
    """
    await store.events_ignore(conn, types=types, limit=IGNORED_AT_ONCE_MAX)
    return await store.events_claim(conn, types=types, limit=limit, lease=lease, now=now)


async def finish(conn: Connection, events: Sequence[TakenEvent]) -> None:
    """Be done with them, in the transaction that applied what they led to."""
    await store.events_finish(conn, ids=[event.id for event in events])


async def try_later(
    conn: Connection, events: Sequence[TakenEvent], *, trouble: str, counted: bool, now: datetime
) -> list[TakenEvent]:
    """Try them again after a pause that grows; return those that were parked instead, because it happened too often.

    Not `counted` is what was nobody's fault: Stripe away for a day parks nothing.
    """
    parked = [event for event in events if counted and event.attempts >= ATTEMPTS_MAX]
    trouble = trouble[:TROUBLE_CHARACTERS_MAX]
    if parked:
        await store.events_park(conn, ids=[event.id for event in parked], trouble=trouble)
    again = [event for event in events if event not in parked]
    if again:
        pause = pause_s(max(event.attempts for event in again)) if counted else AWAY_PAUSE_S
        ids = [event.id for event in again]
        await store.events_delay(conn, ids=ids, pause_s=pause, trouble=trouble, counted=counted, now=now)
    return parked
