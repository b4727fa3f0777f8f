"""Freeze an account's invoice of a month out of the ledger, under its lock; Stripe is asked later, from the row."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.outbox import put_out
from domain.model.intents import InvoiceIntent
from domain.model.invoicing import (
    Freeze,
    Statement,
    begins_at,
    carry_of,
    last_month,
    settled_after,
    state,
    taken_anyway_at,
)
from domain.model.outbox import OutboxKind
from domain.model.periods import month_of, next_month
from domain.store import billing_runs, invoices
from domain.store.billing_runs import Outcome, Run
from domain.store.connection import Connection
from domain.store.invoices import BillableAccount
from domain.store.outbox import Intent

# The first step of an invoice's row in the outbox.
FIRST_STEP: Final = "draft"
# A cast ends within seconds; one that waits for a worker within the hours until it is billed without.
LOOK_AGAIN: Final = timedelta(seconds=20)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of an account in a run, or would."""

    outcome: Outcome
    statement: Statement | None = None
    """What is owed; None when nothing is, or when it is not its turn."""
    customer_id: str | None = None
    freezes: Sequence[Freeze] = ()
    """The account's invoices before."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an account would be billed at this moment."""

    statement: Statement | None
    carry_micros: int
    """What earlier invoices left over; part of the statement, if there is one."""


async def freeze_invoice(conn: Connection, run: Run, *, account_id: UUID, invoice_id: UUID, now: datetime) -> Judged:
    """Freeze the account's invoice of the run's month, or say why not, and note it in the run. Twice does it once.

    Needs Role.ENGINE. `invoice_id` is a fresh id. Nothing is decided by the counters: they are for showing.
    """
    account = await invoices.account_lock(conn, account_id)
    judged = await _judge(conn, account, account_id=account_id, period=run.period, now=now)
    if judged.statement is not None and judged.outcome in {"frozen", "carried"}:
        await _write(conn, run, judged, account_id=account_id, invoice_id=invoice_id, account=account, now=now)
    await billing_runs.account_note(conn, run, account_id, judged.outcome, look_at=now + LOOK_AGAIN)
    return judged


async def judge_invoice(conn: Connection, *, account_id: UUID, period: date, now: datetime) -> Judged:
    """Return what would become of an account in a month's run. Locks and writes nothing."""
    account = await invoices.account_read(conn, account_id)
    return await _judge(conn, account, account_id=account_id, period=period, now=now)


async def preview_invoice(conn: Connection, *, account_id: UUID, period: date) -> Preview:
    """Return what an invoice of a month would say if it were frozen now, whoever would pay it."""
    freezes = await invoices.freezes_read(conn, account_id)
    differences = await invoices.differences_read(conn, account_id, period=period)
    carry_micros = carry_of(freezes)
    return Preview(statement=state(period, differences, carry_in_micros=carry_micros), carry_micros=carry_micros)


async def upcoming_period(conn: Connection, *, account_id: UUID, now: datetime) -> date:
    """Return the month the account's next invoice is of: this one, or the last while it is not billed yet."""
    last = last_month(now)
    if now < taken_anyway_at(last) and not await invoices.invoice_exists(conn, account_id, period=last):
        return last
    return month_of(now)


async def _judge(
    conn: Connection, account: BillableAccount, *, account_id: UUID, period: date, now: datetime
) -> Judged:
    if await invoices.invoice_exists(conn, account_id, period=period):
        return Judged(outcome="frozen")
    may_wait = account.open_casts > 0 and now < taken_anyway_at(period)  # most need no look at their casts
    if may_wait and await invoices.open_casts_exist(conn, account_id, before=begins_at(next_month(period))):
        return Judged(outcome="waiting")
    freezes = await invoices.freezes_read(conn, account_id)
    differences = await invoices.differences_read(conn, account_id, period=period)
    statement = state(period, differences, carry_in_micros=carry_of(freezes))
    if statement is None:
        return Judged(outcome="nothing")
    customer_id = await invoices.customer_read(conn, account_id)
    outcome: Outcome = "frozen"
    if account.billing == "off":
        outcome = "billing_off"
    elif customer_id is None:
        outcome = "no_customer"
    elif statement.is_carried:
        outcome = "carried"
    return Judged(outcome=outcome, statement=statement, customer_id=customer_id, freezes=freezes)


async def _write(
    conn: Connection,
    run: Run,
    judged: Judged,
    *,
    account_id: UUID,
    invoice_id: UUID,
    account: BillableAccount,
    now: datetime,
) -> None:
    """Freeze the invoice, and the intent to have Stripe collect it."""
    statement, customer_id = judged.statement, judged.customer_id
    assert statement is not None
    assert customer_id is not None
    await invoices.invoice_insert(
        conn,
        statement,
        invoice_id=invoice_id,
        account_id=account_id,
        run_id=run.id,
        customer_id=customer_id,
        settled_after=[settled_after(line.month, judged.freezes) for line in statement.lines],
        frozen_at=account.read_at,
    )
    if statement.is_carried:
        return
    frozen = InvoiceIntent(
        customer_id=customer_id,
        description=statement.description,
        total_cents=statement.total_cents,
        calls=statement.calls,
        run_id=str(run.id),
        items=statement.items,
    )
    intent = Intent(
        id=invoice_id,
        account_id=account_id,
        kind=OutboxKind.INVOICE,
        subject_id=invoice_id,
        frozen=frozen,
        step=FIRST_STEP,
    )
    await put_out(conn, intent, now=now)
