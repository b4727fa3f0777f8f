"""Monthly billing for the operator: started over HTTP, and how it stands.

The api writes that a run is wanted; the scheduler does it, and asks Stripe. Whoever started it is answered when it is
done, or after some seconds with how far it is: asked again, the same run is told of, never begun twice.
"""

import asyncio
from datetime import date, datetime
from typing import Final
from uuid import uuid4

import msgspec
from litestar import get, post

from api.errors import invalid
from api.operator.admin import require_admin
from api.services import Services
from domain.flow.billing_run import start_run
from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.invoicing import is_over, last_month
from domain.model.usage import parse_month
from domain.store import billing_runs as store
from domain.store.billing_runs import Run, Summary
from domain.store.connection import Pool, transaction

# Proxies cut a request off after thirty seconds or a minute.
ANSWER_SECONDS_MAX: Final = 25.0
ASK_EVERY_S: Final = 0.5
ACCOUNTS_SHOWN_MAX: Final = 1_000


class ProcessMonthlyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which month is meant."""

    period: str | None = None
    """YYYY-MM, a month that is over; left out: the last one."""


class BillingSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands, counted in users. What is neither successful, nor in error, nor skipped is under way."""

    period: str
    users: int
    successful: int
    errors: int
    skipped: int
    pending: int


class RunAccountView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a user in a run."""

    account_id: str
    handle: str
    outcome: str
    status: str | None
    total_cents: int | None
    calls: int | None
    stripe_invoice_id: str | None
    trouble: str | None


class BillingRunView(BillingSummary, frozen=True, kw_only=True):
    """A run in full, those with trouble first."""

    finished: bool
    data: list[RunAccountView]


@post("/admin/billing/process-monthly", status_code=200, tags=["admin"], guards=[require_admin])
async def process_monthly(services: Services, data: ProcessMonthlyBody | None = None) -> BillingSummary:
    """Bill a month, or go on with it. Safe to repeat: one invoice for each user and month."""
    if services.settings.stripe is None:
        raise refuse(Code.NOT_AVAILABLE, "Billing is off: set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET.")
    now = services.now()
    period = period_of(data, now)
    async with transaction(services.engine_pool) as connection:
        await start_run(connection, period=period, run_id=uuid4(), now=now)
    clock_s = asyncio.get_running_loop().time
    until_s = clock_s() + ANSWER_SECONDS_MAX
    while True:
        run, summary = await _read(services.engine_pool, period)
        if run.finished_at is not None or clock_s() >= until_s:
            return _summary(run, summary)
        await asyncio.sleep(ASK_EVERY_S)


@get("/admin/billing/runs/{period:str}", tags=["admin"], guards=[require_admin])
async def show_run(services: Services, period: str) -> BillingRunView:
    """Show how the run of a month stands, and what became of each user in it."""
    month = parse_month(period)
    if month is None:
        raise refuse(Code.NOT_FOUND, "There is no run of such a month; write it like 2026-11.")
    run, summary = await _read(services.engine_pool, month)
    async with transaction(services.engine_pool) as connection:
        accounts = await store.accounts_of_run(connection, run, limit=ACCOUNTS_SHOWN_MAX)
    return BillingRunView(
        **msgspec.structs.asdict(_summary(run, summary)),
        finished=run.finished_at is not None,
        data=[
            RunAccountView(
                account_id=str(account.account_id),
                handle=account.handle,
                outcome=account.outcome,
                status=account.status,
                total_cents=account.total_cents,
                calls=account.calls,
                stripe_invoice_id=account.stripe_invoice_id,
                trouble=account.trouble,
            )
            for account in accounts
        ],
    )


def period_of(data: ProcessMonthlyBody | None, now: datetime) -> date:
    """Return the month that is meant, by default the last one. Raises RefusedError for one that is not over."""
    if data is None or data.period is None:
        return last_month(now)
    period = parse_month(data.period)
    if period is None:
        fault = Fault(location="period", message="it is no month", fix=f"Write it like {now:%Y-%m}.")
        raise RefusedError(invalid([fault]))
    if not is_over(period, now):
        fault = Fault(location="period", message="the month is not over", fix="Name one that is, or leave it out.")
        raise RefusedError(invalid([fault]))
    return period


async def _read(pool: Pool, period: date) -> tuple[Run, Summary]:
    async with transaction(pool) as connection:
        run = await store.run_get(connection, period)
        if run is None:
            raise refuse(Code.NOT_FOUND, f"No run of {period:%Y-%m} was started.")
        return run, await store.summary_read(connection, run)


def _summary(run: Run, summary: Summary) -> BillingSummary:
    return BillingSummary(
        period=f"{run.period:%Y-%m}",
        users=summary.users,
        successful=summary.successful,
        errors=summary.errors,
        skipped=summary.skipped,
        pending=summary.pending,
    )


ROUTES: Final = [process_monthly, show_run]
