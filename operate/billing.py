"""`spell billing run`, the operator's, beside the user's commands: bill a month, on DATABASE_URL."""

from datetime import date, datetime
from typing import Final
from uuid import UUID

import click
import msgspec
from rich_click import RichCommand, RichGroup

from domain.flow.freeze_invoice import Judged, judge_invoice
from domain.store import billing_runs as store
from domain.store.billing_runs import Run, RunAccount, Summary
from domain.store.connection import Pool, transaction
from operate.monthly import ACCOUNTS_SHOWN_MAX, follow, instant, month_named, opened, reported, sending, stripe_settings
from operate.users import database_url
from scheduler.billing import ACCOUNTS_LISTED_MAX, go_on, start
from scheduler.outbox.loop import Outbox
from spell.commands.billing import billing as user_billing
from spell.exits import EXIT_FAILED
from spell.screen import Column, dollars, print_json, print_rows, progress, say

_MICROS_PER_CENT: Final = 10_000
_FIRST: Final = UUID(int=0)
_COLUMNS: Final = (
    Column(title="account"),
    Column(title="outcome"),
    Column(title="calls", right=True, importance=1),
    Column(title="total", right=True),
    Column(title="invoice", importance=2),
    Column(title="trouble", shrinks=True),
)


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of an account."""

    account_id: UUID
    outcome: str
    calls: int
    total_cents: int
    carried_micros: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `spell billing run` prints as JSON."""

    period: str
    dry_run: bool
    users: int
    successful: int
    errors: int
    skipped: int
    pending: int
    accounts: list[RunAccount] | list[Planned]


@click.command(cls=RichCommand)
@click.option("--period", metavar="YYYY-MM", help="Which month, in UTC; it must be over. Default: the last one.")
@click.option("--dry-run", is_flag=True, help="Write nothing and ask Stripe nothing: show who would be billed what.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(*, period: str | None, dry_run: bool, as_json: bool) -> int:
    """Bill a month for everybody, or go on with it: the operator's. Safe to repeat: one invoice for each account.

    Needs the platform's DATABASE_URL, and STRIPE_SECRET_KEY to send from here.
    """
    month = month_named(period)
    report = reported(_run(database_url(), month, dry_run=dry_run, shows=not as_json))
    if as_json:
        print_json(report)
    else:
        _show(report)
    return EXIT_FAILED if report.errors else 0


async def _run(url: str, month: date | None, *, dry_run: bool, shows: bool) -> Report:
    settings = stripe_settings()
    async with opened(url, month) as (pool, period, now):
        if dry_run:
            return await _plan(pool, period, now, shows=shows)
        await start(pool, period, now)
        async with sending(pool, settings) as outbox:
            return await _follow(pool, period, outbox, shows=shows)


async def _plan(pool: Pool, period: date, now: datetime, *, shows: bool) -> Report:
    """Look at everybody, and write nothing."""
    planned: list[Planned] = []
    with progress(enabled=shows) as bar:
        task = bar.add_task(f"looking at {period:%Y-%m}", total=None)
        after: UUID | None = _FIRST
        while after is not None:
            async with transaction(pool) as connection:
                owing, after = await store.accounts_owing(
                    connection, period=period, after=after, limit=ACCOUNTS_LISTED_MAX
                )
            for account_id in owing:
                async with transaction(pool) as connection:
                    judged = await judge_invoice(connection, account_id=account_id, period=period, now=now)
                if judged.outcome != "nothing":
                    planned.append(_planned(account_id, judged))
                bar.advance(task)
    return Report(
        period=f"{period:%Y-%m}",
        dry_run=True,
        users=len(planned),
        successful=0,
        errors=0,
        skipped=sum(one.outcome in {"carried", "no_customer", "billing_off"} for one in planned),
        pending=sum(one.outcome in {"frozen", "waiting"} for one in planned),
        accounts=planned,
    )


def _planned(account_id: UUID, judged: Judged) -> Planned:
    statement = judged.statement
    return Planned(
        account_id=account_id,
        outcome=judged.outcome,
        calls=0 if statement is None else statement.calls,
        total_cents=0 if statement is None else statement.total_cents,
        carried_micros=0 if statement is None else statement.carry_out_micros,
    )


async def _follow(pool: Pool, period: date, outbox: Outbox | None, *, shows: bool) -> Report:
    found, summary = await follow(
        lambda: _go_on(pool, period, outbox), f"billing {period:%Y-%m}", done=_done, shows=shows
    )
    async with transaction(pool) as connection:
        accounts = await store.accounts_of_run(connection, found, limit=ACCOUNTS_SHOWN_MAX)
    return Report(
        period=f"{period:%Y-%m}",
        dry_run=False,
        users=summary.users,
        successful=summary.successful,
        errors=summary.errors,
        skipped=summary.skipped,
        pending=summary.pending,
        accounts=accounts,
    )


async def _go_on(pool: Pool, period: date, outbox: Outbox | None) -> tuple[Run, Summary, int]:
    now = await instant(pool)
    worked = 0 if outbox is None else await outbox.run_once(now)
    worked += await go_on(pool, now)
    async with transaction(pool) as connection:
        found = await store.run_get(connection, period)
        assert found is not None, "it was started"
        return found, await store.summary_read(connection, found), worked


def _done(summary: Summary) -> tuple[int, int]:
    return summary.users - summary.pending, summary.users


def _show(report: Report) -> None:
    rows = [
        _planned_row(one) if isinstance(one, Planned) else _row(one) for one in report.accounts[:ACCOUNTS_SHOWN_MAX]
    ]
    print_rows(_COLUMNS, rows, empty="Nobody has anything to be billed.")
    if report.dry_run:
        say(f"{report.period}: {report.users} users, {report.skipped} would be skipped. Nothing was written.")
        return
    say(
        f"{report.period}: {report.users} users, {report.successful} successful, {report.errors} errors,"
        f" {report.skipped} skipped, {report.pending} under way"
    )


def _row(one: RunAccount) -> tuple[str, ...]:
    outcome = one.outcome if one.status in {None, "carried"} else f"{one.outcome}, {one.status}"
    total = "" if one.total_cents is None else dollars(one.total_cents * _MICROS_PER_CENT)
    calls = "" if one.calls is None else f"{one.calls:,}"
    return (one.handle, outcome, calls, total, one.stripe_invoice_id or "", one.trouble or "")


def _planned_row(one: Planned) -> tuple[str, ...]:
    total = dollars(one.total_cents * _MICROS_PER_CENT)
    return (str(one.account_id), one.outcome, f"{one.calls:,}", total, "", "")


def _group() -> RichGroup:
    """Return the user's group with the operator's command beside the others."""
    group = RichGroup(name="billing", help=user_billing.help)
    for name, command in user_billing.commands.items():
        group.add_command(command, name)
    group.add_command(run)
    return group


billing: Final = _group()
