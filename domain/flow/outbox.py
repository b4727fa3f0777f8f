"""The outbox of money: intents are put in, claimed, moved from step to step, and ended once. Stripe is not in here."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from domain.model.outbox import Done, Finished, OutboxRow, Trouble, next_attempt_at
from domain.store import outbox as store
from domain.store.connection import Connection
from domain.store.outbox import Intent

Apply = Callable[[Connection, Finished, datetime], Awaitable[None]]
"""What the end of an intent changes. It runs in the transaction that ends the row, under the account's lock, once."""


async def put_out(conn: Connection, intent: Intent, *, now: datetime) -> bool:
    """Write down what is to be done, in the transaction that decides it; False when that was done before.

    Needs Role.ENGINE. The caller holds the account's lock.
    """
    return await store.row_insert(conn, intent, now=now)


async def claim(conn: Connection, *, now: datetime, lease: timedelta, limit: int) -> Sequence[OutboxRow]:
    """Take what is due until the lease ends. Needs a transaction of its own, committed before anything is sent."""
    return await store.rows_claim(conn, now=now, lease_until=now + lease, limit=limit)


async def advance(conn: Connection, row: OutboxRow, done: Done, *, now: datetime, lease: timedelta) -> OutboxRow | None:
    """Write down that a step is done; return the row at its next one, None when somebody else has it by now."""
    assert done.next is not None
    if not await store.row_advance(conn, row, done, now=now, lease_until=now + lease):
        return None
    return msgspec.structs.replace(
        row,
        step=done.next,
        known={**row.known, **done.known},
        tried_at=now,
        must_look=False,
        attempts=1,
        lease_until=now + lease,
    )


async def raise_epoch(conn: Connection, row: OutboxRow, *, now: datetime, lease: timedelta) -> OutboxRow | None:
    """Take the next key of a step that was looked for and not found; None when somebody else has the row by now."""
    if not await store.row_epoch_raise(conn, row, now=now, lease_until=now + lease):
        return None
    return msgspec.structs.replace(row, epoch=row.epoch + 1, tried_at=now, must_look=False, lease_until=now + lease)


async def note_trouble(conn: Connection, row: OutboxRow, trouble: Trouble, *, now: datetime) -> bool:
    """Write down why a step did not end, and give the row back; False when somebody else has it by now."""
    at = next_attempt_at(trouble, attempts=row.attempts, now=now)
    return await store.row_trouble(conn, row, trouble, next_attempt_at=at)


async def finish(conn: Connection, row: OutboxRow, done: Done, apply: Apply, *, now: datetime) -> bool:
    """End a row and apply what came of it, in one transaction; False, and nothing applied, when it is not this one's.

    A step's answer that arrives after the lease is lost here, and found again by whoever has the row.
    """
    assert done.next is None
    await store.account_lock(conn, row.account_id)
    if not await store.row_finish(conn, row, done, now=now):
        return False
    finished = Finished(
        id=row.id,
        account_id=row.account_id,
        subject_id=row.subject_id,
        frozen=row.frozen,
        known={**row.known, **done.known},
        status=done.status,
    )
    await apply(conn, finished, now)
    return True
