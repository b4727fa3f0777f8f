"""End an endpoint. Its deliveries stay to be looked at until retention takes them."""

from uuid import UUID

from domain.flow.audit import audit
from domain.flow.creation import lock_active_account
from domain.flow.update_webhook import find_webhook, no_webhook
from domain.model.audit import Action, Actor
from domain.model.webhook_rules import ROWS_AT_ONCE_MAX
from domain.store import identity, webhooks
from domain.store.connection import Connection


async def delete_webhook(conn: Connection, *, account_id: UUID, endpoint_id: UUID, actor: Actor) -> None:
    """End the endpoint under the account lock: what happens from the commit on is not told to it.

    What waits for it is canceled, here or when the courier comes to it. Raises RefusedError (not found), also the
    second time.
    """
    await lock_active_account(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    endpoint = await find_webhook(conn, account_id=account_id, endpoint_id=endpoint_id)
    if not await webhooks.endpoint_delete(conn, account_id=account_id, endpoint_id=endpoint_id, now=now):
        raise no_webhook()
    await webhooks.deliveries_cancel(conn, endpoint_id=endpoint_id, limit=ROWS_AT_ONCE_MAX, now=now)
    await webhooks.accounts_refresh(conn, account_ids=[account_id])
    await audit(
        conn, actor, Action.WEBHOOK_DELETE, account_id=account_id, target_id=endpoint_id, before=endpoint, now=now
    )
