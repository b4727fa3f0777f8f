"""End an API key."""

from uuid import UUID

from domain.flow.audit import audit
from domain.model.api_key import is_prefix
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.store import identity
from domain.store.connection import Connection


async def revoke_key(conn: Connection, *, account_id: UUID, prefix: str, actor: Actor) -> None:
    """Revoke the key under the account lock, so that after the commit no batch still sees it alive.

    The instant is read after the lock: no cast of the key is accepted later than `revoked_at`. Revoking again changes
    nothing. Raises RefusedError (not found) when the account has no key of this prefix.
    """
    await identity.account_lock(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    key = await identity.key_by_prefix(conn, account_id=account_id, prefix=prefix) if is_prefix(prefix) else None
    if key is None or not await identity.key_revoke(conn, account_id=account_id, prefix=prefix, now=now):
        raise refuse(Code.NOT_FOUND, "This account has no key of that prefix.")
    after = await identity.key_get(conn, account_id=account_id, key_id=key.id)
    await audit(
        conn, actor, Action.KEY_REVOKE, account_id=account_id, target_id=key.id, before=key, after=after, now=now
    )
