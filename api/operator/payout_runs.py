"""Monthly payouts for the operator: started over HTTP, and how they stand.

The api writes that a run is wanted; the scheduler does it, and asks Stripe. Whoever started it is answered when it is
done, or after some seconds with how far it is: asked again, the same run is told of, never begun twice.
"""

import asyncio
from datetime import date
from typing import Final
from uuid import uuid4

import msgspec
from litestar import get, post

from api.operator.admin import require_admin
from api.operator.billing_runs import ANSWER_SECONDS_MAX, ASK_EVERY_S, ProcessMonthlyBody, period_of
from api.services import Services
from domain.flow.payout_run import start_payouts
from domain.model.errors import Code, refuse
from domain.model.usage import parse_month
from domain.store import payout_runs as store
from domain.store.connection import Pool, transaction
from domain.store.payout_runs import PayoutRun, PayoutSummary

CREATORS_SHOWN_MAX: Final = 1_000


class PayoutSummaryView(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands, counted in creators. What is neither successful, nor in error, nor skipped is under way."""

    period: str
    creators: int
    successful: int
    errors: int
    skipped: int
    pending: int
    paid_cents: int


class PaidCreatorView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a creator in a run."""

    account_id: str
    handle: str
    outcome: str
    payable_micros: int
    """When he was looked at."""
    status: str | None
    amount_cents: int | None
    stripe_transfer_id: str | None
    trouble: str | None


class PayoutRunView(PayoutSummaryView, frozen=True, kw_only=True):
    """A run in full, those with trouble first."""

    finished: bool
    data: list[PaidCreatorView]


@post("/admin/payouts/process-monthly", status_code=200, tags=["admin"], guards=[require_admin])
async def process_payouts(services: Services, data: ProcessMonthlyBody | None = None) -> PayoutSummaryView:
    """Pay creators for a month, or go on with it. Safe to repeat: one payout for each creator and month."""
    if services.settings.stripe is None:
        raise refuse(Code.NOT_AVAILABLE, "Billing is off: set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET.")
    now = services.now()
    period = period_of(data, now)
    async with transaction(services.engine_pool) as connection:
        await start_payouts(connection, period=period, run_id=uuid4(), now=now)
    clock_s = asyncio.get_running_loop().time
    until_s = clock_s() + ANSWER_SECONDS_MAX
    while True:
        run, summary = await _read(services.engine_pool, period)
        if run.finished_at is not None or clock_s() >= until_s:
            return _summary(run, summary)
        await asyncio.sleep(ASK_EVERY_S)


@get("/admin/payouts/runs/{period:str}", tags=["admin"], guards=[require_admin])
async def show_payout_run(services: Services, period: str) -> PayoutRunView:
    """Show how the payouts of a month stand, and what became of each creator who is owed something."""
    month = parse_month(period)
    if month is None:
        raise refuse(Code.NOT_FOUND, "There is no run of such a month; write it like 2026-11.")
    run, summary = await _read(services.engine_pool, month)
    async with transaction(services.engine_pool) as connection:
        accounts = await store.accounts_of_run(connection, run, limit=CREATORS_SHOWN_MAX)
    return PayoutRunView(
        **msgspec.structs.asdict(_summary(run, summary)),
        finished=run.finished_at is not None,
        data=[
            PaidCreatorView(
                account_id=str(account.account_id),
                handle=account.handle,
                outcome=account.outcome,
                payable_micros=account.payable_micros,
                status=account.status,
                amount_cents=account.amount_cents,
                stripe_transfer_id=account.stripe_transfer_id,
                trouble=account.trouble,
            )
            for account in accounts
        ],
    )


async def _read(pool: Pool, period: date) -> tuple[PayoutRun, PayoutSummary]:
    async with transaction(pool) as connection:
        run = await store.run_get(connection, period)
        if run is None:
            raise refuse(Code.NOT_FOUND, f"No run of {period:%Y-%m} was started.")
        return run, await store.summary_read(connection, run)


def _summary(run: PayoutRun, summary: PayoutSummary) -> PayoutSummaryView:
    return PayoutSummaryView(
        period=f"{run.period:%Y-%m}",
        creators=summary.creators,
        successful=summary.successful,
        errors=summary.errors,
        skipped=summary.skipped,
        pending=summary.pending,
        paid_cents=summary.paid_cents,
    )


ROUTES: Final = [process_payouts, show_payout_run]
