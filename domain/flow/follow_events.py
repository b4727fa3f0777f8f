"""Follow an account's events as they would be delivered, without an endpoint: for a developer's own machine."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.creation import lock_active_account
from domain.flow.render_event import Told, render_events
from domain.store import deliveries, identity, webhooks
from domain.store.connection import Connection
from domain.store.deliveries import FollowedEvent

# Who says nothing for this long has gone away: nothing more is written for them.
LISTENING: Final = timedelta(minutes=10)
# A lease that still has this much is not renewed, so following costs an account's lock once in some minutes.
RENEW_BELOW: Final = timedelta(minutes=6)
EVENTS_AT_ONCE_MAX: Final = 100
LAST: Final = UUID(int=(1 << 128) - 1)


class Following(msgspec.Struct, frozen=True, kw_only=True):
    """From when on the account's events are written down for who follows them, and until when."""

    since: datetime
    until: datetime
    gap: bool
    """They were not, right before `since`."""


async def follow(conn: Connection, *, account_id: UUID) -> Following:
    """Have the account's events written down for the next LISTENING. Needs Role.ENGINE.

    `since` is read under the account lock: every event after it will be found, every one before it was committed.
    """
    await lock_active_account(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    before = await webhooks.listening_read(conn, account_id=account_id)
    await webhooks.account_listen(conn, account_id=account_id, until=now + LISTENING)
    return Following(since=now, until=now + LISTENING, gap=before is None or before <= now)


async def events_since(
    conn: Connection, *, account_id: UUID, after: tuple[datetime, UUID], casts_url: str
) -> list[tuple[FollowedEvent, bytes | None]]:
    """Return up to EVENTS_AT_ONCE_MAX events behind `after`, each with its body. Needs Role.ENGINE.

    An event whose cast is gone has no body; go on behind it.
    """
    events = await deliveries.events_after(conn, account_id=account_id, after=after, limit=EVENTS_AT_ONCE_MAX)
    told = [
        Told(id=one.id, event_type=one.event_type, created_at=one.created_at, cast_id=one.cast_id, payload=one.payload)
        for one in events
    ]
    bodies = await render_events(conn, told, casts_url=casts_url)
    return [(event, bodies.get(event.id)) for event in events]
