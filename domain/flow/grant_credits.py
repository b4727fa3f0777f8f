"""Give an account credits for nothing."""

from datetime import datetime

from domain.flow.audit import audit
from domain.flow.creation import IdempotentCall, made_before, remember
from domain.flow.move_credits import write_move
from domain.model.audit import Action, Actor
from domain.model.credits import Kind, Reference, check_grant
from domain.model.errors import Code, refuse
from domain.model.ledger import PROMOTION, Move, credits_of
from domain.store import credit_grants, identity
from domain.store.connection import Connection
from domain.store.credit_grants import NewGrant, StoredGrant


async def grant_credits(
    conn: Connection, grant: NewGrant, *, actor: Actor, call: IdempotentCall | None = None, now: datetime
) -> StoredGrant:
    """Give the credits under the account lock; the same grant, or the same call, again gives nothing more.

    Needs Role.ENGINE. Raises RefusedError: not found, validation, idempotency_key_reused.
    """
    assert grant.order_id is None, "an order is granted by what Stripe says of it"
    check_grant(grant.micros, priority=grant.priority, expires_at=grant.expires_at, now=now)
    if await identity.account_lock(conn, account_id=grant.account_id) is None:
        raise refuse(Code.NOT_FOUND, "There is no such account.")
    before = await made_before(conn, account_id=grant.account_id, call=call)
    if before is None and await credit_grants.grant_insert(conn, grant, now=now):
        await write_move(
            conn,
            Kind.GRANT,
            account_id=grant.account_id,
            cause=grant.id,
            amount_micros=grant.micros,
            moves=[Move(PROMOTION, credits_of(grant.account_id), grant.micros)],
            reason=grant.reason,
            reference=Reference(type="grant", id=str(grant.id)),
            now=now,
        )
        await remember(conn, account_id=grant.account_id, call=call, made_id=grant.id, now=now)
        await audit(
            conn,
            actor,
            Action.CREDITS_GRANT,
            account_id=grant.account_id,
            target_id=grant.id,
            after=grant,
            now=now,
        )
    made = await credit_grants.grant_get(conn, account_id=grant.account_id, grant_id=before or grant.id)
    assert made is not None, "it was made now or before"
    return made
