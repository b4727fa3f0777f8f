"""Webhook endpoints, their deliveries, and the events that arrive at them."""

from datetime import datetime
from typing import Any

import msgspec

from spell.models.casts import Cast


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is told of events."""

    id: str
    url: str
    description: str = ""
    event_types: tuple[str, ...] = ()
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    failing_since: datetime | None = None
    created_at: datetime


class NewWebhookEndpoint(WebhookEndpoint, frozen=True, kw_only=True):
    """An endpoint with the secret that signs what it gets (`whsec_...`), shown when it is made or rotated."""

    secret: str | None = None
    secret_available: bool = True

    def __repr__(self) -> str:
        """Leave the secret out: what is printed ends in logs."""
        return f"NewWebhookEndpoint(id={self.id!r}, url={self.url!r})"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to one address."""

    id: str
    event_type: str = ""
    status: str = ""
    attempts: int = 0
    created_at: datetime


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
