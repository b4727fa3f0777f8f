"""A payout has ended at Stripe: paid, or refused and owed again. Its creator is told, once."""

from datetime import datetime

from domain.model.ledger import CASH, Move, payable_of, paying_of, transfers
from domain.model.outbox import Finished, OutboxStatus
from domain.model.payout_events import PayoutFacts, failed_event, paid_event
from domain.model.periods import month_of
from domain.model.pricing import MICROS_PER_CENT
from domain.store import payouts
from domain.store.connection import Connection
from domain.store.events import events_insert
from domain.store.ledger import transfers_insert


async def end_payout(conn: Connection, finished: Finished, now: datetime) -> None:
    """Apply the end of a payout's row in the outbox. Needs the account's lock and Role.ENGINE. Twice does it once.

    What was taken back at Stripe before its answer was heard is booked back here as well.
    """
    is_paid = finished.status is OutboxStatus.DONE
    account_id = finished.account_id
    row = await payouts.payout_finish(
        conn,
        finished.subject_id,
        account_id=account_id,
        status="paid" if is_paid else "refused",
        transfer_id=finished.known["transfer_id"] if is_paid else None,
        refused_code=None if is_paid else finished.known["code"],
        now=now,
    )
    if row is None:
        return
    micros, paying = row.amount_cents * MICROS_PER_CENT, paying_of(account_id)
    if is_paid:
        kind, moves = "payout_paid", [Move(debit=paying, credit=CASH, micros=micros)]
        back_micros = row.reversed_cents * MICROS_PER_CENT
        moves.append(Move(debit=CASH, credit=payable_of(account_id), micros=back_micros))
    else:
        kind, moves = "payout_refused", [Move(debit=paying, credit=payable_of(account_id), micros=micros)]
    rows = transfers(kind, moves, cause=row.id, account_id=account_id, month=month_of(now))
    await transfers_insert(conn, rows)
    facts = PayoutFacts(
        payout_id=row.id,
        account_id=account_id,
        period=row.period,
        amount_cents=row.amount_cents,
        transfer_id=row.stripe_transfer_id,
        refused_code=row.refused_code,
        reversed_cents=row.reversed_cents,
    )
    await events_insert(conn, [paid_event(facts) if is_paid else failed_event(facts)])
