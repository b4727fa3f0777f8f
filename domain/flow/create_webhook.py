"""Make an endpoint that is told of an account's events."""

from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.modes import Mode
from domain.model.webhook_rules import ENDPOINTS_PER_ACCOUNT_MAX, EndpointTerms, check_endpoint
from domain.model.webhook_url import Network
from domain.store import identity, webhooks
from domain.store.connection import Connection
from domain.store.webhooks import Endpoint


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint somebody asks for."""

    id: UUID
    account_id: UUID
    terms: EndpointTerms
    mode: Mode = Mode.LIVE
    """Of the casts it is told of; it stays."""


class CreatedWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoint as stored. `replayed`: an earlier call made it."""

    endpoint: Endpoint
    replayed: bool


async def create_webhook(
    conn: Connection,
    new: NewWebhook,
    *,
    private_allowed: tuple[Network, ...],
    actor: Actor,
    call: IdempotentCall | None = None,
) -> CreatedWebhook:
    """Make the endpoint under the account lock; the same call again returns the first's. Needs Role.ENGINE.

    From the commit on it is told of what happens. Raises RefusedError: validation, conflict (too many), not found
    (what this call made was deleted), idempotency_key_reused.
    """
    await lock_active_account(conn, account_id=new.account_id)
    before = await made_before(conn, account_id=new.account_id, call=call)
    found = await webhooks.endpoint_get(conn, account_id=new.account_id, endpoint_id=before or new.id)
    if found is not None:
        return CreatedWebhook(endpoint=found, replayed=True)
    if before is not None:
        raise refuse(Code.NOT_FOUND, "The webhook this Idempotency-Key made has been deleted. Use a new key.")
    check_endpoint(new.terms, private_allowed)
    if await webhooks.endpoints_count(conn, account_id=new.account_id) >= ENDPOINTS_PER_ACCOUNT_MAX:
        raise refuse(
            Code.CONFLICT, f"This account has {ENDPOINTS_PER_ACCOUNT_MAX} webhooks. Delete one to make another."
        )
    now = await identity.instant_read(conn)
    await webhooks.endpoint_insert(
        conn,
        endpoint_id=new.id,
        account_id=new.account_id,
        mode=new.mode,
        url=new.terms.url,
        description=new.terms.description,
        event_types=new.terms.event_types,
        now=now,
    )
    await webhooks.accounts_refresh(conn, account_ids=[new.account_id])
    await remember(conn, account_id=new.account_id, call=call, made_id=new.id, now=now)
    made = await webhooks.endpoint_get(conn, account_id=new.account_id, endpoint_id=new.id)
    assert made is not None, "it was just inserted"
    await audit(conn, actor, Action.WEBHOOK_CREATE, account_id=new.account_id, target_id=new.id, after=made, now=now)
    return CreatedWebhook(endpoint=made, replayed=False)
