"""`spell payouts run`, the operator's, beside the creator's commands: pay a month out, on DATABASE_URL."""

from datetime import date, datetime
from typing import Final
from uuid import UUID

import click
import msgspec
from rich_click import RichCommand, RichGroup

from domain.flow.freeze_payout import JudgedPayout, judge_payout
from domain.store import payout_runs as store
from domain.store.connection import Pool, transaction
from domain.store.payout_runs import PayoutRun, PayoutRunAccount, PayoutSummary
from operate.monthly import ACCOUNTS_SHOWN_MAX, follow, instant, month_named, opened, reported, sending, stripe_settings
from operate.users import database_url
from scheduler.outbox.loop import Outbox
from scheduler.payouts import ACCOUNTS_LISTED_MAX, FIRST, go_on, start
from spell.commands.payouts import payouts as creators_payouts
from spell.exits import EXIT_FAILED
from spell.screen import Column, dollars, print_json, print_rows, progress, say

_MICROS_PER_CENT: Final = 10_000
_PAID: Final = frozenset({"frozen"})
_COLUMNS: Final = (
    Column(title="creator"),
    Column(title="outcome"),
    Column(title="payable", right=True, importance=1),
    Column(title="paid", right=True),
    Column(title="transfer", importance=2),
    Column(title="trouble", shrinks=True),
)


class PlannedPayout(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of a creator."""

    account_id: UUID
    outcome: str
    payable_micros: int
    amount_cents: int


class PayoutReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `spell payouts run` prints as JSON."""

    period: str
    dry_run: bool
    creators: int
    successful: int
    errors: int
    skipped: int
    pending: int
    paid_cents: int
    accounts: list[PayoutRunAccount] | list[PlannedPayout]


@click.command(cls=RichCommand)
@click.option("--period", metavar="YYYY-MM", help="Which month, in UTC; it must be over. Default: the last one.")
@click.option("--dry-run", is_flag=True, help="Write nothing and ask Stripe nothing: show who would be paid what.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(*, period: str | None, dry_run: bool, as_json: bool) -> int:
    """Pay creators what is payable, or go on with it: the operator's. Safe to repeat: one payout a creator and month.

    Needs the platform's DATABASE_URL, and STRIPE_SECRET_KEY to send from here.
    """
    month = month_named(period)
    report = reported(_run(database_url(), month, dry_run=dry_run, shows=not as_json))
    if as_json:
        print_json(report)
    else:
        _show(report)
    return EXIT_FAILED if report.errors else 0


async def _run(url: str, month: date | None, *, dry_run: bool, shows: bool) -> PayoutReport:
    settings = stripe_settings()
    async with opened(url, month) as (pool, period, now):
        if dry_run:
            return await _plan(pool, period, now, shows=shows)
        await start(pool, period, now)
        async with sending(pool, settings) as outbox:
            return await _follow(pool, period, outbox, shows=shows)


async def _plan(pool: Pool, period: date, now: datetime, *, shows: bool) -> PayoutReport:
    """Look at everybody, and write nothing."""
    planned: list[PlannedPayout] = []
    with progress(enabled=shows) as bar:
        task = bar.add_task(f"looking at {period:%Y-%m}", total=None)
        after: UUID | None = FIRST
        while after is not None:
            async with transaction(pool) as connection:
                owed, after = await store.accounts_owed(connection, after=after, limit=ACCOUNTS_LISTED_MAX)
            for account_id in owed:
                async with transaction(pool) as connection:
                    judged = await judge_payout(connection, account_id=account_id, period=period, now=now)
                if judged.outcome != "nothing":
                    planned.append(_planned(account_id, judged))
                bar.advance(task)
    return PayoutReport(
        period=f"{period:%Y-%m}",
        dry_run=True,
        creators=len(planned),
        successful=0,
        errors=0,
        skipped=sum(one.outcome not in _PAID for one in planned),
        pending=sum(one.outcome in _PAID for one in planned),
        paid_cents=0,
        accounts=planned,
    )


def _planned(account_id: UUID, judged: JudgedPayout) -> PlannedPayout:
    return PlannedPayout(
        account_id=account_id,
        outcome=judged.outcome,
        payable_micros=judged.owed.payable_micros,
        amount_cents=judged.amount_cents,
    )


async def _follow(pool: Pool, period: date, outbox: Outbox | None, *, shows: bool) -> PayoutReport:
    found, summary = await follow(
        lambda: _go_on(pool, period, outbox), f"paying {period:%Y-%m}", done=_done, shows=shows
    )
    async with transaction(pool) as connection:
        accounts = await store.accounts_of_run(connection, found, limit=ACCOUNTS_SHOWN_MAX)
    return PayoutReport(
        period=f"{period:%Y-%m}",
        dry_run=False,
        creators=summary.creators,
        successful=summary.successful,
        errors=summary.errors,
        skipped=summary.skipped,
        pending=summary.pending,
        paid_cents=summary.paid_cents,
        accounts=accounts,
    )


async def _go_on(pool: Pool, period: date, outbox: Outbox | None) -> tuple[PayoutRun, PayoutSummary, int]:
    now = await instant(pool)
    worked = 0 if outbox is None else await outbox.run_once(now)
    worked += await go_on(pool, now)
    async with transaction(pool) as connection:
        found = await store.run_get(connection, period)
        assert found is not None, "it was started"
        return found, await store.summary_read(connection, found), worked


def _done(summary: PayoutSummary) -> tuple[int, int]:
    return summary.creators - summary.pending, summary.creators


def _show(report: PayoutReport) -> None:
    rows = [
        _planned_row(one) if isinstance(one, PlannedPayout) else _row(one)
        for one in report.accounts[:ACCOUNTS_SHOWN_MAX]
    ]
    print_rows(_COLUMNS, rows, empty="Nobody is owed anything.")
    if report.dry_run:
        total = sum(one.amount_cents or 0 for one in report.accounts)
        say(
            f"{report.period}: {report.creators} creators, {report.pending} would be paid"
            f" {dollars(total * _MICROS_PER_CENT)}, {report.skipped} skipped. Nothing was written."
        )
        return
    say(
        f"{report.period}: {report.creators} creators, {report.successful} paid"
        f" ({dollars(report.paid_cents * _MICROS_PER_CENT)}), {report.errors} errors, {report.skipped} skipped,"
        f" {report.pending} under way"
    )


def _row(one: PayoutRunAccount) -> tuple[str, ...]:
    outcome = one.outcome if one.status is None else one.status
    paid = "" if one.amount_cents is None else dollars(one.amount_cents * _MICROS_PER_CENT)
    return (
        one.handle,
        outcome,
        dollars(one.payable_micros),
        paid,
        one.stripe_transfer_id or "",
        one.trouble or "",
    )


def _planned_row(one: PlannedPayout) -> tuple[str, ...]:
    paid = dollars(one.amount_cents * _MICROS_PER_CENT) if one.amount_cents else ""
    return (str(one.account_id), one.outcome, dollars(one.payable_micros), paid, "", "")


def _group() -> RichGroup:
    """Return the creator's group with the operator's command beside the others."""
    group = RichGroup(name="payouts", help=creators_payouts.help)
    for name, command in creators_payouts.commands.items():
        group.add_command(command, name)
    group.add_command(run)
    return group


payouts: Final = _group()
