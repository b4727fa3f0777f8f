"""Give an endpoint its next secret; for a while the one before signs as well, so that no delivery is refused."""

from datetime import timedelta
from uuid import UUID

from domain.flow.audit import audit
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.flow.update_webhook import find_webhook, no_webhook
from domain.model.audit import Action, Actor
from domain.store import identity, webhooks
from domain.store.connection import Connection
from domain.store.webhooks import Endpoint


async def rotate_webhook(
    conn: Connection,
    *,
    account_id: UUID,
    endpoint_id: UUID,
    grace_s: int,
    actor: Actor,
    call: IdempotentCall | None = None,
) -> tuple[Endpoint, bool]:
    """Rotate under the account lock; return the endpoint, and whether an earlier call with this key rotated it.

    Two secrets are valid at most: a rotation during the grace of another ends that one's. Without an Idempotency-Key
    each call rotates. Raises RefusedError: not found, idempotency_key_reused.
    """
    await lock_active_account(conn, account_id=account_id)
    if await made_before(conn, account_id=account_id, call=call) is not None:
        return await find_webhook(conn, account_id=account_id, endpoint_id=endpoint_id), True
    before = await find_webhook(conn, account_id=account_id, endpoint_id=endpoint_id)
    now = await identity.instant_read(conn)
    until = now + timedelta(seconds=grace_s)
    if not await webhooks.endpoint_rotate(conn, account_id=account_id, endpoint_id=endpoint_id, until=until):
        raise no_webhook()
    await remember(conn, account_id=account_id, call=call, made_id=endpoint_id, now=now)
    after = await find_webhook(conn, account_id=account_id, endpoint_id=endpoint_id)
    await audit(
        conn,
        actor,
        Action.WEBHOOK_ROTATE,
        account_id=account_id,
        target_id=endpoint_id,
        before=before,
        after=after,
        now=now,
    )
    return after, False
