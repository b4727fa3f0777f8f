"""Webhooks as they are sent and shown."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from domain.model.modes import Mode
from domain.model.webhook_rules import DESCRIPTION_CHARACTERS_MAX, GRACE_S_DEFAULT, GRACE_S_MAX
from domain.model.webhook_url import URL_CHARACTERS_MAX
from domain.model.webhooks import PATTERNS
from domain.store.deliveries import AttemptRow, DeliveryRow
from domain.store.webhooks import Endpoint

_Url = Annotated[str, msgspec.Meta(min_length=1, max_length=URL_CHARACTERS_MAX)]
_Types = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=len(PATTERNS))]
_Description = Annotated[str, msgspec.Meta(max_length=DESCRIPTION_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class WebhookBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to make."""

    url: _Url
    """`https`, reachable from the public internet, without user name, password and fragment."""
    event_types: _Types = ("*",)
    """`cast.succeeded`, `cast.failed`, …, or a group like `cast.*`, or `*`."""
    description: _Description = ""
    mode: Mode = Mode.LIVE
    """`test`: it is told of the casts of test keys, and of nothing else. It cannot be changed."""


class WebhookChangeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an endpoint; what is left out stays."""

    url: _Url | None = None
    event_types: _Types | None = None
    description: _Description | None = None
    disabled: bool | None = None
    """true: nothing more is sent, and what waits is canceled; false: it is told again from now on."""


class RotationBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to rotate a secret."""

    grace_seconds: Annotated[int, msgspec.Meta(ge=0, le=GRACE_S_MAX)] = GRACE_S_DEFAULT
    """So long the old secret signs beside the new one."""


class RedeliveryBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which missed deliveries to send again: those of events in [since, until)."""

    since: _Instant
    until: _Instant | None = None
    """Now, when it is left out."""


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as it stands."""

    id: UUID
    mode: Mode
    url: str
    description: str
    event_types: list[str]
    disabled_at: datetime | None
    disabled_reason: Literal["owner", "failing", "gone"] | None
    """`failing`: nothing arrived for days; `gone`: it answered 410. Both were told by mail and `webhook.disabled`."""
    failing_since: datetime | None
    created_at: datetime


class NewWebhookView(WebhookView, frozen=True, kw_only=True):
    """An endpoint with its secret, which a replay shows again and `GET /v1/webhooks/{id}/secret` at any time."""

    secret: str
    secret_available: bool


class WebhookList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of endpoints, newest first."""

    data: list[WebhookView]
    next_cursor: str | None
    has_more: bool


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    """What verifies deliveries. During the grace of a rotation each is signed with both."""

    secret: str
    previous_secret: str | None = None
    previous_valid_until: datetime | None = None


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer; without an answer `error` says why."""

    attempt: int
    started_at: datetime
    duration_ms: int
    request_headers: msgspec.Raw
    """A JSON object."""
    status_code: int | None
    response_body: str | None
    """Its beginning."""
    error: str | None


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way to one receiver."""

    id: UUID
    event_id: str
    """The header `webhook-id`: the same for every receiver and every attempt."""
    event_type: str
    webhook_id: UUID | None
    """null: it goes to the `webhook_url` of a cast."""
    url: str | None
    """That address; null where an endpoint is named."""
    cast_id: UUID | None
    status: str
    """`pending`, `delivered`, `failed` (given up), `canceled` (the endpoint was disabled or deleted)."""
    created_at: datetime
    next_attempt_at: datetime | None
    """null unless it is pending."""
    finished_at: datetime | None
    attempts: int
    attempt_log: list[AttemptView]


class DeliveryList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of deliveries, newest first, each with its attempts."""

    data: list[DeliveryView]
    next_cursor: str | None
    has_more: bool


class RedeliveredView(msgspec.Struct, frozen=True, kw_only=True):
    """How many are sent again; the same call goes on while there are more."""

    redelivered: int
    has_more: bool


class FollowedView(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a receiver would get it: send `body` as it is, with `headers`."""

    id: str
    type: str
    created_at: datetime
    headers: dict[str, str]
    """Signed with the account's secret, `GET /v1/webhooks/secret`, a moment ago."""
    body: str


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """What happened since `after`, oldest first. Ask again with `next_cursor`, also when there is nothing."""

    data: list[FollowedView]
    next_cursor: str
    following_until: datetime
    """Events are kept for you until then; asking again prolongs it."""
    gap: bool
    """Nobody had asked for more than ten minutes: what happened in between was not kept."""


def webhook_view(endpoint: Endpoint) -> WebhookView:
    """Show an endpoint."""
    return msgspec.convert(endpoint, WebhookView, from_attributes=True)


def new_webhook_view(endpoint: Endpoint, secret: str) -> NewWebhookView:
    """Show an endpoint with its secret."""
    shown = msgspec.structs.asdict(webhook_view(endpoint))
    return NewWebhookView(**shown, secret=secret, secret_available=True)


def delivery_view(row: DeliveryRow, event_id: str, attempts: list[AttemptRow]) -> DeliveryView:
    """Show a delivery with its attempts."""
    return DeliveryView(
        id=row.id,
        event_id=event_id,
        event_type=row.event_type,
        webhook_id=row.endpoint_id,
        url=row.target,
        cast_id=row.cast_id,
        status=row.status,
        created_at=row.created_at,
        next_attempt_at=row.next_attempt_at if row.status == "pending" else None,
        finished_at=row.finished_at,
        attempts=row.attempts,
        attempt_log=[_attempt_view(attempt) for attempt in attempts],
    )


def _attempt_view(row: AttemptRow) -> AttemptView:
    return AttemptView(
        attempt=row.attempt,
        started_at=row.started_at,
        duration_ms=row.duration_ms,
        request_headers=msgspec.Raw(row.request_headers),
        status_code=row.status_code,
        response_body=None if row.response_body is None else bytes(row.response_body).decode("utf-8", "replace"),
        error=row.error,
    )
