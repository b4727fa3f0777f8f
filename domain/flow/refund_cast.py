"""Pay a settled cast back, whole and once."""

from datetime import datetime
from uuid import UUID

from domain.flow.audit import audit
from domain.flow.collect_shares import collect_bills, collect_grant
from domain.model.audit import Action, Actor
from domain.model.credits import Kind, Reference
from domain.model.errors import Code, refuse
from domain.model.funding import Funding, spend_parts
from domain.model.periods import month_of_ms
from domain.model.pricing import Charge
from domain.model.receipt import ReceiptRow, charge_of
from domain.model.refund import refund_transfers
from domain.model.settlement import HeldCast
from domain.store import credit_grants, earnings, receipts, settlement
from domain.store.connection import Connection
from domain.store.receipts import RefundRow


async def refund_cast(
    connection: Connection, *, cast_id: UUID, reason: str, actor: Actor, now: datetime
) -> tuple[RefundRow, bool]:
    """Return what is paid back for the cast, and whether this call did it; a second call changes nothing.

    Metered: the receivable shrinks, and with it the next invoice's difference. Credits: the same grants get back what
    they paid. The creator's share is taken back, from wherever it is by now. Budgets, months and counters say what was
    used, and stay.
    Raises RefusedError: not found, conflict (not ended, or nothing was paid for it).
    """
    _, casts, prices = await settlement.lock_and_read(connection, [cast_id])
    if not casts:
        raise refuse(Code.NOT_FOUND, "There is no such cast.")
    (cast,) = casts
    row = await receipts.receipt_read(connection, account_id=cast.account_id, cast_id=cast_id)
    assert row is not None, "it was read a moment ago"
    if row.cost_micros is None:
        raise refuse(Code.CONFLICT, "This cast has not ended: cancel it instead; what has not run costs nothing.")
    if row.cost_micros == 0 or cast.funding in {Funding.FREE, Funding.UNBILLED}:
        raise refuse(
            Code.CONFLICT,
            "Nobody paid for this cast: it cost nothing, the free allowance covered it, or billing was off.",
        )
    refund = RefundRow(
        cast_id=cast_id, account_id=cast.account_id, amount_micros=row.cost_micros, reason=reason, refunded_at=now
    )
    if not await receipts.refund_insert(connection, refund):
        there = await receipts.refund_get(connection, account_id=cast.account_id, cast_id=cast_id)
        assert there is not None, "it stood in the way"
        return there, False
    if cast.funding is Funding.CREDITS:
        await receipts.grants_return(connection, cast.account_id, spend_parts(cast.grants, row.cost_micros))
        await credit_grants.transaction_insert(
            connection,
            account_id=cast.account_id,
            kind=Kind.CAST_REFUND,
            amount_micros=row.cost_micros,
            reason=reason,
            reference=Reference(type="cast", id=str(cast_id)),
            now=now,
        )
    await _book(connection, row, cast, charge_of(row, cast, prices[cast.price_version]), now=now)
    await audit(
        connection,
        actor,
        Action.CAST_REFUND,
        account_id=cast.account_id,
        target_id=cast_id,
        after={"amount_micros": row.cost_micros, "reason": reason},
        now=now,
    )
    return refund, True


async def _book(connection: Connection, row: ReceiptRow, cast: HeldCast, charged: Charge, *, now: datetime) -> None:
    """Undo the cast's settlement in the ledger, and bring what is left of creators' shares to where it belongs."""
    line_id = None
    if cast.funding is Funding.METERED and row.settled_at is not None:
        line_id = await earnings.line_of_cast(
            connection,
            account_id=cast.account_id,
            spell_id=cast.spell_id,
            month=month_of_ms(cast.accepted_ms),
            settled_at=row.settled_at,
        )
    transfers = refund_transfers(cast, charged, line_id=line_id)
    assert sum(transfer.amount_micros for transfer in transfers) == row.cost_micros, "all of it goes back"
    await settlement.book_transfers(connection, transfers)
    if line_id is not None:
        await collect_bills(connection, account_id=cast.account_id, now=now)
    for part in cast.grants:
        await collect_grant(connection, account_id=cast.account_id, grant_id=part.grant_id, now=now)
