"""The three books of credits, moved together: grants, ledger, history. The caller holds the account's lock."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from domain.model.credits import Kind, Reference
from domain.model.ledger import Move, transfers
from domain.model.periods import month_of
from domain.store import credit_grants
from domain.store.connection import Connection
from domain.store.ledger import transfers_insert


async def write_move(
    conn: Connection,
    kind: Kind,
    *,
    account_id: UUID,
    cause: UUID,
    amount_micros: int,
    moves: Sequence[Move],
    reason: str = "",
    reference: Reference | None = None,
    now: datetime,
) -> int:
    """Book a change that was just made to the account's grants, and write it into the history; return its number there.

    `cause` is the one lasting thing the change comes from: a second time the ledger refuses it. A change of 0 moves
    money alone and is no part of the history; its number is 0.
    """
    rows = transfers(f"credit_{kind}", moves, cause=cause, account_id=account_id, month=month_of(now))
    await transfers_insert(conn, rows)
    if amount_micros == 0:
        return 0
    return await credit_grants.transaction_insert(
        conn,
        account_id=account_id,
        kind=kind,
        amount_micros=amount_micros,
        reason=reason,
        reference=reference,
        now=now,
    )
