"""Make something once: the rules every POST that creates shares under its Idempotency-Key."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.model.errors import Code, refuse
from domain.store import identity
from domain.store.connection import Connection


class IdempotentCall(msgspec.Struct, frozen=True, kw_only=True):
    """A caller's Idempotency-Key and the SHA-256 of the method, path and body it was sent with."""

    key: str
    request_hash: bytes


async def lock_active_account(conn: Connection, *, account_id: UUID) -> None:
    """Take the account's lock; RefusedError when there is no such account or it is suspended."""
    status = await identity.account_lock(conn, account_id=account_id)
    if status is None:
        raise refuse(Code.NOT_FOUND, "There is no such account.")
    if status != "active":
        raise refuse(Code.FORBIDDEN, "This account is suspended. Contact the operator.")


async def made_before(conn: Connection, *, account_id: UUID, call: IdempotentCall | None) -> UUID | None:
    """Return the id of what this very call made before, or None. Needs the account lock.

    Raises RefusedError when the key came with another request.
    """
    if call is None:
        return None
    creation = await identity.creation_get(conn, account_id=account_id, key=call.key)
    if creation is None:
        return None
    if creation.request_hash != call.request_hash or len(creation.made_ids) != 1:
        raise refuse(
            Code.IDEMPOTENCY_KEY_REUSED,
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
        )
    return creation.made_ids[0]


async def remember(
    conn: Connection, *, account_id: UUID, call: IdempotentCall | None, made_id: UUID, now: datetime
) -> None:
    """Remember what this call made, in the transaction that made it."""
    if call is not None:
        await identity.creation_insert(
            conn,
            account_id=account_id,
            key=call.key,
            request_hash=call.request_hash,
            made_ids=[made_id],
            now=now,
        )
