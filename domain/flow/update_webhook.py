"""Change an endpoint: its address, its types, whether it is told at all."""

from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import lock_active_account
from domain.model.audit import Action, Actor
from domain.model.errors import Code, RefusedError, refuse
from domain.model.webhook_rules import ROWS_AT_ONCE_MAX, EndpointTerms, check_endpoint
from domain.model.webhook_url import Network
from domain.store import identity, webhooks
from domain.store.connection import Connection
from domain.store.webhooks import Endpoint


class WebhookChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; None leaves it."""

    url: str | None = None
    event_types: tuple[str, ...] | None = None
    description: str | None = None
    disabled: bool | None = None


async def update_webhook(
    conn: Connection,
    *,
    account_id: UUID,
    endpoint_id: UUID,
    change: WebhookChange,
    private_allowed: tuple[Network, ...],
    actor: Actor,
) -> Endpoint:
    """Change the endpoint under the account lock and return it as it stands; the same again changes nothing.

    One that is disabled gets nothing more: what waits for it is canceled, here or when the courier comes to it. One
    that is enabled again is told of what happens from then on, and may be asked to send what it missed.
    Raises RefusedError: not found, validation.
    """
    await lock_active_account(conn, account_id=account_id)
    endpoint = await find_webhook(conn, account_id=account_id, endpoint_id=endpoint_id)
    terms = EndpointTerms(
        url=endpoint.url if change.url is None else change.url,
        event_types=endpoint.event_types if change.event_types is None else change.event_types,
        description=endpoint.description if change.description is None else change.description,
    )
    if terms.url != endpoint.url or terms.event_types != endpoint.event_types:
        check_endpoint(terms, private_allowed)
    disabled = endpoint.disabled_at is not None if change.disabled is None else change.disabled
    now = await identity.instant_read(conn)
    await webhooks.endpoint_update(
        conn,
        account_id=account_id,
        endpoint_id=endpoint_id,
        url=terms.url,
        event_types=terms.event_types,
        description=terms.description,
        disabled=disabled,
        now=now,
    )
    if disabled:
        await webhooks.deliveries_cancel(conn, endpoint_id=endpoint_id, limit=ROWS_AT_ONCE_MAX, now=now)
    await webhooks.accounts_refresh(conn, account_ids=[account_id])
    after = await find_webhook(conn, account_id=account_id, endpoint_id=endpoint_id)
    await audit(
        conn,
        actor,
        Action.WEBHOOK_UPDATE,
        account_id=account_id,
        target_id=endpoint_id,
        before=endpoint,
        after=after,
        now=now,
    )
    return after


async def find_webhook(conn: Connection, *, account_id: UUID, endpoint_id: UUID) -> Endpoint:
    """Return the endpoint. Raises RefusedError (not found), also for another account's."""
    endpoint = await webhooks.endpoint_get(conn, account_id=account_id, endpoint_id=endpoint_id)
    if endpoint is None:
        raise no_webhook()
    return endpoint


def no_webhook() -> RefusedError:
    """Return the error of an id that names no endpoint of the account."""
    return refuse(Code.NOT_FOUND, "This account has no webhook of that id.")
