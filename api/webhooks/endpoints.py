"""Endpoints: make, list, show, change, delete, rotate, try, and the secrets that verify what arrives."""

from typing import Annotated, Any, Final
from uuid import UUID, uuid4

from litestar import Request, Response, delete, get, patch, post
from litestar.params import Parameter

from api import weights
from api.access import needs
from api.auth import Principal
from api.creation import REPLAYED, idempotent_call
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.services import Services
from api.webhooks.views import (
    DeliveryView,
    NewWebhookView,
    RotationBody,
    SecretView,
    WebhookBody,
    WebhookChangeBody,
    WebhookList,
    WebhookView,
    delivery_view,
    new_webhook_view,
    webhook_view,
)
from domain.flow.create_webhook import NewWebhook, create_webhook
from domain.flow.delete_webhook import delete_webhook
from domain.flow.rotate_webhook import rotate_webhook
from domain.flow.try_webhook import try_webhook
from domain.flow.update_webhook import WebhookChange, find_webhook, update_webhook
from domain.model.audit import Actor
from domain.model.key_rules import KeyScope
from domain.model.webhook_rules import EndpointTerms
from domain.model.webhook_url import Network, parse_networks
from domain.model.webhooks import ACCOUNT_SECRET_VERSION, derive_secret, message_id, secret_text
from domain.store import webhooks
from domain.store.connection import account_transaction, transaction
from domain.store.webhooks import Endpoint

# Whoever may send an account's events anywhere may read its casts; who may read them may see what was sent.
WRITE: Final = needs(KeyScope.WEBHOOKS_WRITE)
READ: Final = needs(KeyScope.WEBHOOKS_WRITE, KeyScope.CASTS_READ)
_TAGS: Final = ["webhooks"]
_ONE: Final = "/v1/webhooks/{webhook_id:uuid}"


@post("/v1/webhooks", status_code=201, access=WRITE, tags=_TAGS)
async def make_webhook(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, data: WebhookBody
) -> Response[NewWebhookView]:
    """Tell a URL of the account's events from now on. Send an Idempotency-Key."""
    principal.require_current()
    call = await idempotent_call(request)
    terms = EndpointTerms(url=data.url, event_types=data.event_types, description=data.description)
    new = NewWebhook(id=uuid4(), account_id=principal.account_id, terms=terms, mode=data.mode)
    async with transaction(services.engine_pool) as connection:
        created = await create_webhook(
            connection, new, private_allowed=private_allowed(services), actor=actor, call=call
        )
    headers = {"location": f"/v1/webhooks/{created.endpoint.id}"}
    view = new_webhook_view(created.endpoint, _secret(services, created.endpoint))
    return Response(view, headers={**headers, **REPLAYED} if created.replayed else headers)


@get("/v1/webhooks", access=READ, tags=_TAGS)
async def list_webhooks(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    limit: Annotated[int, Parameter(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response[WebhookList]:
    """List the account's endpoints."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await webhooks.endpoints_list(
            connection, account_id=principal.account_id, before=parse_cursor(cursor), limit=limit + 1
        )
    page, following = page_of(rows, limit, lambda endpoint: (endpoint.created_at, endpoint.id))
    view = WebhookList(data=[webhook_view(row) for row in page], next_cursor=following, has_more=following is not None)
    return Response(view, headers=link_headers(request.url.path, {"limit": limit}, following))


@get(_ONE, access=READ, tags=_TAGS)
async def show_webhook(services: Services, principal: Principal, webhook_id: UUID) -> WebhookView:
    """Show one endpoint."""
    return webhook_view(await read_webhook(services, principal, webhook_id))


@patch(_ONE, access=WRITE, tags=_TAGS)
async def change_webhook(
    services: Services, principal: Principal, actor: Actor, webhook_id: UUID, data: WebhookChangeBody
) -> WebhookView:
    """Change an endpoint; `disabled: false` starts one again that was given up."""
    change = WebhookChange(
        url=data.url, event_types=data.event_types, description=data.description, disabled=data.disabled
    )
    async with transaction(services.engine_pool) as connection:
        endpoint = await update_webhook(
            connection,
            account_id=principal.account_id,
            endpoint_id=webhook_id,
            change=change,
            private_allowed=private_allowed(services),
            actor=actor,
        )
    return webhook_view(endpoint)


@delete(_ONE, status_code=204, access=WRITE, tags=_TAGS)
async def end_webhook(services: Services, principal: Principal, actor: Actor, webhook_id: UUID) -> None:
    """Delete an endpoint: nothing more is sent to it, and what waits is canceled."""
    async with transaction(services.engine_pool) as connection:
        await delete_webhook(connection, account_id=principal.account_id, endpoint_id=webhook_id, actor=actor)


@get(f"{_ONE}/secret", access=WRITE, tags=_TAGS)
async def show_secret(services: Services, principal: Principal, webhook_id: UUID) -> SecretView:
    """Show the secret that verifies deliveries, and the one before while it still signs."""
    principal.require_current()
    endpoint = await read_webhook(services, principal, webhook_id)
    until = endpoint.previous_secret_until
    in_grace = until is not None and until > services.now() and endpoint.secret_version > 1
    return SecretView(
        secret=_secret(services, endpoint),
        previous_secret=_secret(services, endpoint, back=1) if in_grace else None,
        previous_valid_until=until if in_grace else None,
    )


@get("/v1/webhooks/secret", access=WRITE, tags=_TAGS)
async def show_account_secret(services: Services, principal: Principal) -> SecretView:
    """Show the account's own secret: it verifies what goes to the `webhook_url` of a cast, and what you follow."""
    principal.require_current()
    return SecretView(secret=secret_text(account_secret(services, principal.account_id)))


@post(f"{_ONE}/rotate-secret", status_code=200, access=WRITE, tags=_TAGS)
async def rotate_secret(
    *,
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    actor: Actor,
    webhook_id: UUID,
    data: RotationBody | None = None,
) -> Response[NewWebhookView]:
    """Give the endpoint a new secret; for `grace_seconds` (a day by default) the old one signs as well."""
    principal.require_current()
    call = await idempotent_call(request)
    grace_s = (data or RotationBody()).grace_seconds
    async with transaction(services.engine_pool) as connection:
        endpoint, replayed = await rotate_webhook(
            connection,
            account_id=principal.account_id,
            endpoint_id=webhook_id,
            grace_s=grace_s,
            actor=actor,
            call=call,
        )
    view = new_webhook_view(endpoint, _secret(services, endpoint))
    return Response(view, headers=REPLAYED if replayed else {})


@post(f"{_ONE}/test", status_code=202, access=WRITE, weight=weights.REACH_OUT, tags=_TAGS)
async def send_test(
    request: Request[Any, Any, Any], services: Services, principal: Principal, webhook_id: UUID
) -> Response[DeliveryView]:
    """Send the endpoint a `webhook.test` event; `GET /v1/webhooks/{id}/deliveries` shows what became of it."""
    call = await idempotent_call(request)
    async with transaction(services.engine_pool) as connection:
        row, replayed = await try_webhook(
            connection,
            account_id=principal.account_id,
            endpoint_id=webhook_id,
            delivery_id=uuid4(),
            event_id=uuid4(),
            call=call,
        )
    return Response(delivery_view(row, message_id(row.event_id), []), headers=REPLAYED if replayed else {})


async def read_webhook(services: Services, principal: Principal, webhook_id: UUID) -> Endpoint:
    """Return an endpoint of the caller's. Raises RefusedError (404)."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        return await find_webhook(connection, account_id=principal.account_id, endpoint_id=webhook_id)


def private_allowed(services: Services) -> tuple[Network, ...]:
    """Return the networks webhooks may reach although they are not public."""
    return parse_networks(services.settings.webhook_allow_private)


def account_secret(services: Services, account_id: UUID) -> bytes:
    """Return the secret an account has for itself."""
    return derive_secret(services.settings.webhook_signing_key.reveal(), account_id, ACCOUNT_SECRET_VERSION)


def _secret(services: Services, endpoint: Endpoint, *, back: int = 0) -> str:
    key = services.settings.webhook_signing_key.reveal()
    return secret_text(derive_secret(key, endpoint.id, endpoint.secret_version - back))


ROUTES: Final = [
    make_webhook,
    list_webhooks,
    show_account_secret,
    show_webhook,
    change_webhook,
    end_webhook,
    show_secret,
    rotate_secret,
    send_test,
]
