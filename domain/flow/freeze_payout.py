"""Freeze what a creator is paid out of the ledger, under his lock; Stripe is asked later, from the row."""

from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.outbox import put_out
from domain.model.intents import PayoutIntent
from domain.model.ledger import Move, payable_of, paying_of, transfers
from domain.model.outbox import OutboxKind
from domain.model.payouts import Outcome, Owed, fresh_since, judge
from domain.model.periods import month_of
from domain.model.pricing import MICROS_PER_CENT
from domain.store import payout_accounts, payout_runs, payouts
from domain.store.connection import Connection
from domain.store.ledger import transfers_insert
from domain.store.outbox import Intent
from domain.store.payout_runs import PayoutRun
from domain.store.payouts import NewPayout

# The one step of a payout's row in the outbox.
PAY_STEP: Final = "pay"


class JudgedPayout(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a creator in a run, or would."""

    outcome: Outcome
    owed: Owed
    amount_cents: int = 0
    stripe_account_id: str | None = None


async def freeze_payout(
    conn: Connection, run: PayoutRun, *, account_id: UUID, payout_id: UUID, now: datetime
) -> JudgedPayout:
    """Freeze the creator's payout of the run's month, or say why not, and note it in the run. Twice does it once.

    From the commit on the amount is not payable any more but on its way. Needs Role.ENGINE; `payout_id` is a fresh id.
    """
    status = await payouts.account_lock(conn, account_id)
    judged = await _judge(conn, account_id=account_id, period=run.period, status=status, now=now)
    if judged.amount_cents:
        await _write(conn, run, judged, account_id=account_id, payout_id=payout_id, now=now)
    await payout_runs.account_note(
        conn, run, account_id, judged.outcome, payable_micros=max(judged.owed.payable_micros, 0)
    )
    return judged


async def judge_payout(conn: Connection, *, account_id: UUID, period: date, now: datetime) -> JudgedPayout:
    """Return what would become of a creator in a month's run. Locks and writes nothing."""
    status = await payouts.account_read(conn, account_id)
    return await _judge(conn, account_id=account_id, period=period, status=status, now=now)


async def _judge(
    conn: Connection, *, account_id: UUID, period: date, status: str | None, now: datetime
) -> JudgedPayout:
    owed = await payouts.owed_read(conn, account_id, fresh_since=fresh_since(now))
    if await payouts.payout_exists(conn, account_id, period=period):
        return JudgedPayout(outcome="frozen", owed=owed)
    account = await payout_accounts.account_get(conn, account_id=account_id)
    verdict = judge(owed, account, is_suspended=status == "suspended")
    return JudgedPayout(
        outcome=verdict.outcome,
        owed=owed,
        amount_cents=verdict.amount_cents,
        stripe_account_id=None if account is None else account.stripe_account_id,
    )


async def _write(
    conn: Connection, run: PayoutRun, judged: JudgedPayout, *, account_id: UUID, payout_id: UUID, now: datetime
) -> None:
    """Freeze the payout, take it from what is payable, and the intent to have Stripe pay it."""
    assert judged.stripe_account_id is not None, "who has none is not paid"
    payout = NewPayout(
        id=payout_id,
        account_id=account_id,
        run_id=run.id,
        period=run.period,
        payable_micros=judged.owed.payable_micros,
        held_back_micros=judged.owed.fresh_micros,
        amount_cents=judged.amount_cents,
        stripe_account_id=judged.stripe_account_id,
    )
    await payouts.payout_insert(conn, payout, now=now)
    micros = judged.amount_cents * MICROS_PER_CENT
    moves = (Move(debit=payable_of(account_id), credit=paying_of(account_id), micros=micros),)
    rows = transfers("payout", moves, cause=payout_id, account_id=account_id, month=month_of(now))
    await transfers_insert(conn, rows)
    frozen = PayoutIntent(
        destination_id=judged.stripe_account_id,
        amount_cents=judged.amount_cents,
        description=f"Spell Platform payout - {run.period:%B %Y}",
    )
    intent = Intent(
        id=payout_id,
        account_id=account_id,
        kind=OutboxKind.PAYOUT,
        subject_id=payout_id,
        frozen=frozen,
        step=PAY_STEP,
    )
    assert await put_out(conn, intent, now=now), "the id is fresh"
