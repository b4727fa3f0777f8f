"""Webhook endpoints: where events go, and what became of each."""

from collections.abc import Sequence
from typing import Final

from spell.core.exchange import JSON, Request, json_body, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.names import segment
from spell.core.operation import Operation, decoded, nothing
from spell.models.webhooks import Delivery, NewWebhookEndpoint, WebhookEndpoint

_HEADERS: Final = {"content-type": JSON}
_endpoint: Final = decoded(WebhookEndpoint)
_new_endpoint: Final = decoded(NewWebhookEndpoint)
_delivery: Final = decoded(Delivery)


def create(
    url: str, *, event_types: Sequence[str] = ("*",), description: str = "", idempotency_key: str | None = None
) -> Operation[NewWebhookEndpoint]:
    """Tell `url` of events: of all, or of the types that are named (`cast.succeeded`, `cast.*`).

    `secret` of the answer verifies what arrives (`spell.webhooks.verify`).
    """
    body = {"url": url, "event_types": tuple(event_types), "description": description}
    return Operation(
        request=Request(method="POST", path="/v1/webhooks", headers=_HEADERS, body=json_body(body)),
        decode=_new_endpoint,
        creates=True,
        idempotency_key=idempotency_key,
    )


def list_webhooks(*, page_size: int = PAGE_SIZE_MAX) -> Listing[WebhookEndpoint]:
    """Return the account's endpoints, newest first."""
    return listing("/v1/webhooks", WebhookEndpoint, query_of(limit=page_size))


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


def deliveries(webhook: str, *, page_size: int = PAGE_SIZE_MAX) -> Listing[Delivery]:
    """Return what was sent to an endpoint, newest first."""
    return listing(f"{_path(webhook)}/deliveries", Delivery, query_of(limit=page_size))


def redeliver(webhook: str, delivery: str, *, idempotency_key: str | None = None) -> Operation[Delivery]:
    """Send an event once more."""
    return Operation(
        request=Request(method="POST", path=f"{_path(webhook)}/deliveries/{segment(delivery)}/redeliver"),
        decode=_delivery,
        creates=True,
        idempotency_key=idempotency_key,
    )


def rotate_secret(webhook: str, *, idempotency_key: str | None = None) -> Operation[NewWebhookEndpoint]:
    """Give an endpoint a new secret; for a while the old one signs as well."""
    return Operation(
        request=Request(method="POST", path=f"{_path(webhook)}/rotate-secret"),
        decode=_new_endpoint,
        creates=True,
        idempotency_key=idempotency_key,
    )


def _path(webhook: str) -> str:
    return f"/v1/webhooks/{segment(webhook)}"
