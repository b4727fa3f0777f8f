"""What was taken back of a payout at Stripe is owed again. Booked once, whatever is told in which order."""

from datetime import datetime
from uuid import UUID, uuid5

from domain.model.ledger import CASH, Move, payable_of, transfers
from domain.model.payout_events import PayoutFacts, reversed_event
from domain.model.periods import month_of
from domain.model.pricing import MICROS_PER_CENT
from domain.model.stripe_money import Transfer
from domain.store import payouts
from domain.store.connection import Connection
from domain.store.events import events_insert
from domain.store.ledger import transfers_insert


async def follow_transfer(conn: Connection, payout_id: UUID, found: Transfer, *, now: datetime) -> bool:
    """Apply how much of a transfer is taken back; False when it is none of ours, or nothing new.

    `payout_id` is ours, as its metadata has it. Needs Role.ENGINE. Twice changes nothing.
    """
    account_id = await payouts.account_of_payout(conn, payout_id)
    if account_id is None:
        return False
    await payouts.account_lock(conn, account_id)
    before = await payouts.payout_get(conn, account_id, payout_id)
    assert before is not None, "its owner was just read"
    if before.stripe_account_id != found.destination_id or before.stripe_transfer_id not in {None, found.id}:
        return False
    reversed_cents = min(found.reversed_cents, before.amount_cents)
    if not await payouts.payout_reverse(conn, payout_id, account_id=account_id, reversed_cents=reversed_cents):
        return False
    if before.status == "pending":
        return True  # its end, which is still to be heard of, books it
    micros = (reversed_cents - before.reversed_cents) * MICROS_PER_CENT
    rows = transfers(
        "payout_reversed",
        (Move(debit=CASH, credit=payable_of(account_id), micros=micros),),
        cause=uuid5(payout_id, f"reversed {reversed_cents}"),
        account_id=account_id,
        month=month_of(now),
    )
    await transfers_insert(conn, rows)
    facts = PayoutFacts(
        payout_id=payout_id,
        account_id=account_id,
        period=before.period,
        amount_cents=before.amount_cents,
        transfer_id=found.id,
        reversed_cents=reversed_cents,
    )
    await events_insert(conn, [reversed_event(facts)])
    return True
