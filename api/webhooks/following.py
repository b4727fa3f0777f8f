"""GET /v1/webhooks/events: an account's events as they would be delivered, for `spell webhooks listen`."""

import asyncio
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, get

from api.auth import Principal
from api.call import call_of
from api.casts.prefer import wish_of
from api.listing import cursor_of, parse_cursor
from api.services import Services
from api.webhooks.endpoints import WRITE, account_secret
from api.webhooks.views import EventPage, FollowedView
from domain.flow.follow_events import LAST, RENEW_BELOW, Following, events_since, follow
from domain.model.webhooks import matches, message_id, sign
from domain.store import webhooks
from domain.store.connection import account_transaction, transaction
from domain.store.deliveries import FollowedEvent

# A developer looks at the screen; a look into an index a second costs nothing that matters.
LOOK_EVERY_S: Final = 1.0


@get("/v1/webhooks/events", access=WRITE, tags=["webhooks"])
async def follow_events(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    after: str | None = None,
    types: str = "*",
) -> Response[EventPage]:
    """Return the account's events since `after`, signed as they would be delivered; `Prefer: wait=n` waits for one.

    The first call, without `after`, begins: what happens from then on is kept for whoever asks again within ten
    minutes. `types` names event types or groups, separated by commas.
    """
    following = await _following(services, principal, begins=after is None)
    position = parse_cursor(after) or (following.since, LAST)
    patterns = frozenset(types.split(","))
    wish = wish_of(call_of(request.scope).headers.get(b"prefer"), 0)
    deadline = services.clock() + wish.wait_s
    with services.followers:
        while True:
            found, position = await _look(services, principal, position, patterns)
            if found or services.shutdown.started or services.clock() >= deadline:
                break
            await _pause(services, min(LOOK_EVERY_S, deadline - services.clock()))
    gap = following.gap and after is not None
    page = EventPage(data=found, next_cursor=cursor_of(*position), following_until=following.until, gap=gap)
    return Response(page, headers={} if wish.applied is None else {"preference-applied": wish.applied.decode("ascii")})


async def _following(services: Services, principal: Principal, *, begins: bool) -> Following:
    """Return until when events are kept, prolonged where that is soon."""
    now = services.now()
    if not begins:
        async with account_transaction(services.app_pool, principal.account_id) as connection:
            until = await webhooks.listening_read(connection, account_id=principal.account_id)
        if until is not None and until > now + RENEW_BELOW:
            return Following(since=now, until=until, gap=False)
    async with transaction(services.engine_pool) as connection:
        return await follow(connection, account_id=principal.account_id)


async def _look(
    services: Services, principal: Principal, position: tuple[datetime, UUID], patterns: frozenset[str]
) -> tuple[list[FollowedView], tuple[datetime, UUID]]:
    """Return a page of events that match, and where the next look goes on: behind those that do not match, too."""
    async with transaction(services.engine_pool) as connection:
        events = await events_since(
            connection, account_id=principal.account_id, after=position, casts_url=services.casts.casts_url
        )
    if events:
        last = events[-1][0]
        position = (last.created_at, last.id)
    secret = account_secret(services, principal.account_id)
    timestamp_s = int(services.now().timestamp())
    found = [
        _view(event, body, secret, timestamp_s)
        for event, body in events
        if body is not None and matches(patterns, event.event_type)
    ]
    return found, position


def _view(event: FollowedEvent, body: bytes, secret: bytes, timestamp_s: int) -> FollowedView:
    identifier = message_id(event.event_id)
    headers = {
        "content-type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign([secret], message_id=identifier, timestamp_s=timestamp_s, body=body),
    }
    return FollowedView(
        id=identifier, type=event.event_type, created_at=event.created_at, headers=headers, body=body.decode()
    )


async def _pause(services: Services, seconds: float) -> None:
    """Return after `seconds`, or as soon as the process begins to stop."""
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await services.shutdown.wait()
    except TimeoutError:
        return


ROUTES: Final = [follow_events]
