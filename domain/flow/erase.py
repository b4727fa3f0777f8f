"""Go on with an erasure, a piece at a time: end what is open, then empty what was read, written and sent."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.cancel import Canceled, cancel
from domain.model.erasure import PERSONAL_AUDIT_FIELDS
from domain.store import erasure, identity
from domain.store.connection import Connection

# What one statement of the scheduler's slow sessions does within a second or two.
CASTS_AT_ONCE_MAX: Final = 500
DELIVERIES_AT_ONCE_MAX: Final = 1_000
PIECES_AT_ONCE_MAX: Final = 20


class ErasedPiece(msgspec.Struct, frozen=True, kw_only=True):
    """What a piece of work did."""

    canceled: Canceled | None = None
    """Casts that were ended: tell their workers after COMMIT."""
    waits: bool = False
    """Casts are still running; they end within their limits, and then it is gone on with."""
    finished: UUID | None = None
    """The account of which nothing is left to be erased."""


async def erase_piece(conn: Connection, *, now: datetime, batch_id: UUID, token_key: bytes) -> ErasedPiece | None:
    """Do the next piece of the erasure that waits longest; None when there is none. Needs Role.ENGINE.

    Killed at any point it is done again: each piece is one transaction, and looks for what is left.
    """
    claimed = await erasure.erasure_claim(conn)
    if claimed is None:
        return None
    account_id = claimed.account_id
    await identity.account_lock(conn, account_id=account_id)
    await erasure.erasure_look(conn, account_id=account_id, now=now)
    open_casts = await erasure.casts_open(conn, account_id=account_id, limit=CASTS_AT_ONCE_MAX)
    if open_casts:
        done = await cancel(conn, account_id, open_casts, batch_id=batch_id, token_key=token_key)
        return ErasedPiece(canceled=done, waits=not done.canceled)
    if await erasure.casts_forget(conn, claimed, limit=CASTS_AT_ONCE_MAX):
        return ErasedPiece()
    if await erasure.deliveries_delete(conn, account_id=account_id, limit=DELIVERIES_AT_ONCE_MAX):
        return ErasedPiece()
    if await erasure.pieces_delete(conn, account_id=account_id, limit=PIECES_AT_ONCE_MAX):
        return ErasedPiece()
    await erasure.idempotency_delete(conn, account_id=account_id)
    await erasure.audit_forget(conn, account_id=account_id, personal_fields=PERSONAL_AUDIT_FIELDS)
    await erasure.erasure_finish(conn, account_id=account_id, now=now)
    return ErasedPiece(finished=account_id)
