"""Take credits for what a service of the operator did for an account."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import IdempotentCall, lock_active_account
from domain.flow.move_credits import write_move
from domain.model.audit import Action, Actor
from domain.model.credits import Kind, Reference
from domain.model.errors import Code, RefusedError, refuse
from domain.model.funding import take_from_grants
from domain.model.ledger import REVENUE, Move, credits_of
from domain.store import credit_grants
from domain.store.connection import Connection
from domain.store.credit_grants import Consumption, Transaction


class Consume(msgspec.Struct, frozen=True, kw_only=True):
    """What a service asks for."""

    id: UUID
    account_id: UUID
    caller_id: UUID
    """The account of the service's key: its Idempotency-Keys are its own, whatever account they name."""
    micros: int
    reason: str
    reference: Reference | None


class Consumed(msgspec.Struct, frozen=True, kw_only=True):
    """The change of the balance. `replayed`: an earlier call made it."""

    transaction: Transaction
    replayed: bool


async def consume_credits(
    conn: Connection, wanted: Consume, *, call: IdempotentCall | None, actor: Actor, now: datetime
) -> Consumed:
    """Take the credits under the account lock, or nothing; the same call again takes nothing more, ever.

    What open casts hold is not taken. Needs Role.ENGINE. Raises RefusedError: insufficient_credits,
    idempotency_key_reused, not found, forbidden (suspended).
    """
    assert wanted.micros > 0, "the edge asks for an amount"
    await lock_active_account(conn, account_id=wanted.account_id)
    if call is not None:
        before = await credit_grants.consumption_get(conn, caller_id=wanted.caller_id, idempotency_key=call.key)
        if before is not None:
            return await _again(conn, wanted, call, before)
    grants = await credit_grants.grants_alive(conn, account_id=wanted.account_id)
    parts = take_from_grants([grant.fundable for grant in grants], wanted.micros, now)
    if parts is None:
        raise refuse(Code.INSUFFICIENT_CREDITS, "The credits left do not cover this. Buy credits.")
    await credit_grants.grants_spend(conn, account_id=wanted.account_id, parts=parts)
    number = await write_move(
        conn,
        Kind.CONSUME,
        account_id=wanted.account_id,
        cause=wanted.id,
        amount_micros=-wanted.micros,
        moves=[Move(credits_of(wanted.account_id), REVENUE, wanted.micros)],
        reason=wanted.reason,
        reference=wanted.reference,
        now=now,
    )
    remembered = await credit_grants.consumption_insert(
        conn,
        consumption_id=wanted.id,
        account_id=wanted.account_id,
        caller_id=wanted.caller_id,
        idempotency_key=None if call is None else call.key,
        request_hash=bytes(32) if call is None else call.request_hash,
        amount_micros=wanted.micros,
        number=number,
        now=now,
    )
    if not remembered:
        raise _reused()
    await audit(
        conn,
        actor,
        Action.CREDITS_CONSUME,
        account_id=wanted.account_id,
        target_id=wanted.id,
        after=wanted,
        now=now,
    )
    made = await credit_grants.transaction_get(conn, account_id=wanted.account_id, number=number)
    return Consumed(transaction=made, replayed=False)


async def _again(conn: Connection, wanted: Consume, call: IdempotentCall, before: Consumption) -> Consumed:
    if before.request_hash != call.request_hash or before.account_id != wanted.account_id:
        raise _reused()
    made = await credit_grants.transaction_get(conn, account_id=wanted.account_id, number=before.number)
    return Consumed(transaction=made, replayed=True)


def _reused() -> RefusedError:
    return refuse(
        Code.IDEMPOTENCY_KEY_REUSED,
        "This Idempotency-Key was used with another request. Use a new key for a new request.",
    )
