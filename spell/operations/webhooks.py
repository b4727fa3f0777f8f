"""Webhook endpoints: where events go, and what became of each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from spell.core.exchange import JSON, Reply, Request, json_body, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.names import cast_path, segment
from spell.core.operation import Operation, decoded, nothing
from spell.models.casts import Cast
from spell.models.page import Page
from spell.models.webhooks import (
    Delivery,
    FollowedEvents,
    NewWebhookEndpoint,
    Redelivered,
    WebhookEndpoint,
    WebhookSecret,
)

_ALL: Final = "/v1/webhooks"
_HEADERS: Final = {"content-type": JSON}
_endpoint: Final = decoded(WebhookEndpoint)
_new_endpoint: Final = decoded(NewWebhookEndpoint)
_delivery: Final = decoded(Delivery)
_delivery_page: Final = decoded(Page[Delivery])
_secret: Final = decoded(WebhookSecret)
_redelivered: Final = decoded(Redelivered)
_followed: Final = decoded(FollowedEvents)


def create(
    url: str,
    *,
    event_types: Sequence[str] = ("*",),
    description: str = "",
    mode: str = "live",
    idempotency_key: str | None = None,
) -> Operation[NewWebhookEndpoint]:
    """Tell `url` of events: of all, or of the types that are named (`cast.succeeded`, `cast.*`).

    `mode="test"` tells it of the casts of test keys, and of nothing else. `secret` of the answer verifies what arrives
    (`spell.webhooks.verify`).
    """
    body = {"url": url, "event_types": tuple(event_types), "description": description}
    if mode != "live":
        body["mode"] = mode
    return Operation(
        request=Request(method="POST", path=_ALL, headers=_HEADERS, body=json_body(body)),
        decode=_new_endpoint,
        creates=True,
        idempotency_key=idempotency_key,
    )


def list_webhooks(*, page_size: int = PAGE_SIZE_MAX) -> Listing[WebhookEndpoint]:
    """Return the account's endpoints, newest first."""
    return listing(_ALL, WebhookEndpoint, query_of(limit=page_size))


def get(webhook: str) -> Operation[WebhookEndpoint]:
    """Return one endpoint by its id."""
    return Operation(request=Request(method="GET", path=_path(webhook)), decode=_endpoint)


def update(
    webhook: str,
    *,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    description: str | None = None,
    disabled: bool | None = None,
) -> Operation[WebhookEndpoint]:
    """Change an endpoint; None leaves it. `disabled=False` starts one again that was given up."""
    given = {"url": url, "event_types": event_types, "description": description, "disabled": disabled}
    body = json_body({name: value for name, value in given.items() if value is not None})
    return Operation(
        request=Request(method="PATCH", path=_path(webhook), headers=_HEADERS, body=body), decode=_endpoint
    )


def delete(webhook: str) -> Operation[None]:
    """Delete an endpoint: nothing is sent to it any more."""
    return Operation(request=Request(method="DELETE", path=_path(webhook)), decode=nothing)


def secret(webhook: str) -> Operation[WebhookSecret]:
    """Return the secret that verifies what an endpoint gets, and the one before while it still signs."""
    return Operation(request=Request(method="GET", path=f"{_path(webhook)}/secret"), decode=_secret)


def account_secret() -> Operation[WebhookSecret]:
    """Return the account's own secret: it verifies what goes to the `webhook_url` of a cast, and `follow()`."""
    return Operation(request=Request(method="GET", path=f"{_ALL}/secret"), decode=_secret)


def rotate_secret(
    webhook: str, *, grace_s: int | None = None, idempotency_key: str | None = None
) -> Operation[NewWebhookEndpoint]:
    """Give an endpoint a new secret; for `grace_s` seconds (a day by default) the old one signs as well."""
    body = json_body({} if grace_s is None else {"grace_seconds": grace_s})
    return Operation(
        request=Request(method="POST", path=f"{_path(webhook)}/rotate-secret", headers=_HEADERS, body=body),
        decode=_new_endpoint,
        creates=True,
        idempotency_key=idempotency_key,
    )


def send_test(webhook: str, *, idempotency_key: str | None = None) -> Operation[Delivery]:
    """Send an endpoint a `webhook.test` event, whatever it subscribes to."""
    return Operation(
        request=Request(method="POST", path=f"{_path(webhook)}/test"),
        decode=_delivery,
        creates=True,
        idempotency_key=idempotency_key,
    )


def deliveries(webhook: str, *, status: str | None = None, page_size: int = PAGE_SIZE_MAX) -> Listing[Delivery]:
    """Return what was sent to an endpoint, newest first, each with its attempts.

    `status` is `pending`, `delivered`, `failed` or `canceled`.
    """
    return listing(f"{_path(webhook)}/deliveries", Delivery, query_of(status=status, limit=page_size))


def deliveries_of_cast(cast: Cast | str) -> Operation[tuple[Delivery, ...]]:
    """Return what was sent to the `webhook_url` that a cast came with."""
    return Operation(request=Request(method="GET", path=f"{cast_path(cast)}/deliveries"), decode=_all_deliveries)


def redeliver(delivery: Delivery) -> Operation[Delivery]:
    """Send a delivery again, or now if it waits for its next attempt."""
    if delivery.webhook_id is not None:
        owner = _path(delivery.webhook_id)
    else:
        assert delivery.cast_id is not None, "a delivery goes to an endpoint or to the address of a cast"
        owner = cast_path(delivery.cast_id)
    path = f"{owner}/deliveries/{segment(delivery.id)}/redeliver"
    return Operation(request=Request(method="POST", path=path), decode=_delivery)


def redeliver_missed(webhook: str, *, since: datetime, until: datetime | None = None) -> Operation[Redelivered]:
    """Send again what an endpoint missed of the events in [since, until): what was given up, and what was canceled."""
    times = {"since": since} if until is None else {"since": since, "until": until}
    request = Request(method="POST", path=f"{_path(webhook)}/redeliver", headers=_HEADERS, body=json_body(times))
    return Operation(request=request, decode=_redelivered)


def follow(
    *, after: str | None = None, wait_s: int = 0, event_types: Sequence[str] = ("*",)
) -> Operation[FollowedEvents]:
    """Return the account's events since the cursor `after`, as they would be delivered; wait up to 60 s for one.

    The first call, without `after`, begins: what happens from then on is kept for who asks again within minutes.
    """
    query = query_of(after=after, types=",".join(event_types))
    headers = {"prefer": f"wait={wait_s}"} if wait_s else {}
    return Operation(
        request=Request(method="GET", path=f"{_ALL}/events", query=query, headers=headers),
        decode=_followed,
        patience_s=wait_s,
    )


def _all_deliveries(reply: Reply) -> tuple[Delivery, ...]:
    return _delivery_page(reply).data


def _path(webhook: str) -> str:
    return f"{_ALL}/{segment(webhook)}"
