"""Take what is left of grants whose time is over. What open casts hold is theirs until they end."""

from datetime import datetime
from uuid import UUID, uuid5

from domain.flow.move_credits import write_move
from domain.model.credits import Kind, Reference
from domain.model.ledger import BREAKAGE, Move, credits_of
from domain.store import credit_grants, identity
from domain.store.connection import Connection


async def expire_credits(conn: Connection, *, account_id: UUID, now: datetime) -> int:
    """Take it under the account lock; return in micros how much. Twice takes nothing more. Needs Role.ENGINE.

    A grant may have its turn again: when an open cast ends, it gives back what it held and did not cost.
    """
    await identity.account_lock(conn, account_id=account_id)
    expired = 0
    for grant in await credit_grants.grants_alive(conn, account_id=account_id):
        if grant.expires_at is None or grant.expires_at > now or grant.free_micros == 0:
            continue
        micros = grant.free_micros
        total = await credit_grants.grant_expire(conn, account_id=account_id, grant_id=grant.id, micros=micros)
        await write_move(
            conn,
            Kind.EXPIRY,
            account_id=account_id,
            # Grows with each expiry; what is left of the grant may be the same again, after a refund.
            cause=uuid5(grant.id, f"expiry|{total}"),
            amount_micros=-micros,
            moves=[Move(credits_of(account_id), BREAKAGE, micros)],
            reference=Reference(type="grant", id=str(grant.id)),
            now=now,
        )
        expired += micros
    return expired
