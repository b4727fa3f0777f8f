"""Webhook endpoints, their deliveries, and the events that arrive at them."""

from datetime import datetime
from typing import Any

import msgspec

from spell.models.casts import Cast


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is told of events."""

    id: str
    mode: str = "live"
    """Of the casts it is told of."""
    url: str
    description: str = ""
    event_types: tuple[str, ...] = ()
    """Types, groups like `cast.*`, or `*`."""
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    """`owner`, `failing` (nothing arrived for days) or `gone` (it answered 410)."""
    failing_since: datetime | None = None
    created_at: datetime


class NewWebhookEndpoint(WebhookEndpoint, frozen=True, kw_only=True):
    """An endpoint with the secret that signs what it gets (`whsec_...`)."""

    secret: str

    def __repr__(self) -> str:
        """Leave the secret out: what is printed ends in logs."""
        return f"NewWebhookEndpoint(id={self.id!r}, url={self.url!r})"


class WebhookSecret(msgspec.Struct, frozen=True, kw_only=True):
    """What verifies deliveries. During the grace of a rotation each is signed with both."""

    secret: str
    previous_secret: str | None = None
    previous_valid_until: datetime | None = None

    def __repr__(self) -> str:
        """Leave the secrets out: what is printed ends in logs."""
        return "WebhookSecret()"


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer; without an answer `error` says why."""

    attempt: int
    started_at: datetime
    duration_ms: int
    request_headers: dict[str, str] = {}
    status_code: int | None = None
    response_body: str | None = None
    """Its beginning."""
    error: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to one receiver."""

    id: str
    event_id: str
    """The header `webhook-id`."""
    event_type: str
    webhook_id: str | None = None
    """None: it goes to the `webhook_url` of a cast."""
    url: str | None = None
    cast_id: str | None = None
    status: str
    """`pending`, `delivered`, `failed` (given up) or `canceled`."""
    created_at: datetime
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    attempt_log: tuple[DeliveryAttempt, ...] = ()


class Redelivered(msgspec.Struct, frozen=True, kw_only=True):
    """How many deliveries are sent again; the same call goes on while `has_more`."""

    redelivered: int
    has_more: bool = False


class FollowedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a receiver would get it: `body` as it is, with `headers`, signed with the account's secret."""

    id: str
    type: str
    created_at: datetime
    headers: dict[str, str]
    body: str


class FollowedEvents(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, oldest first. Ask again with `next_cursor`, also when there is nothing."""

    data: tuple[FollowedEvent, ...]
    next_cursor: str
    following_until: datetime
    """Events are kept for you until then; asking again prolongs it."""


class WebhookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, as it arrived and was verified. `id` is the same each time it is sent: drop repeats."""

    id: str
    type: str
    """`cast.succeeded`, `cast.failed`, `budget.threshold_reached`, ..."""
    timestamp: datetime
    """When it happened, not when it was sent."""
    data: dict[str, Any]
    cast: Cast | None = None
    """`data` of an event whose type begins with `cast.`; long output and logs may be left out of it."""
