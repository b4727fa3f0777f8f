"""`spell earnings`: what the account's spells earned it, and how much of it is payable."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

import click
from rich_click import RichCommand

from spell.commands.platform import platform, platform_options
from spell.models.earnings import EarnedMonth, EarnedSums, Earnings
from spell.screen import Column, dollars, print_facts, print_json, print_rows, say

_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])
_GROUPS: Final = ("month", "day", "spell")


@click.command(cls=RichCommand)
@click.option("--by", type=click.Choice(_GROUPS), default="month", show_default=True, help="What each row is.")
@click.option("--from", "first", type=_DAY, help="The first day, in UTC. Default: 29 days before --to.")
@click.option("--to", "last", type=_DAY, help="The last day, in UTC. Default: today.")
@click.option("--export", is_flag=True, help="Print a row for each spell on each day, as CSV.")
@platform_options
def earnings(
    *,
    by: str,
    first: dt.datetime | None,
    last: dt.datetime | None,
    export: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Show what your spells earned: pending, payable and paid, by month, day or spell."""
    days = {"first": None if first is None else first.date(), "last": None if last is None else last.date()}
    if by == "month" and not export and any(days.values()):
        message = "--from and --to go with --by day, --by spell or --export"
        raise click.UsageError(message)
    with platform(url) as client:
        if export:
            click.echo(client.earnings.export(**days), nl=False)
            return
        if by == "day":
            by_day = client.earnings.daily(**days)
            rows = [(f"{day.date:%Y-%m-%d}", day) for day in by_day.data if as_json or _is_shown(day)]
            _show(by, rows, by_day, as_json=as_json)
        elif by == "spell":
            by_spell = client.earnings.by_spell(**days)
            _show(by, [(one.spell, one) for one in by_spell.data], by_spell, as_json=as_json)
            if by_spell.has_more and not as_json:
                say("There are more; --export has all.")
        else:
            _show_balance(client.earnings.now(), as_json=as_json)


def _is_shown(day: EarnedSums) -> bool:
    return bool(day.casts or day.earned_micros or day.refunded_micros)


def _show(what: str, rows: Sequence[tuple[str, EarnedSums]], whole: object, *, as_json: bool) -> None:
    if as_json:
        print_json(whole)
        return
    columns = (
        Column(title=what, shrinks=True),
        Column(title="casts", right=True),
        Column(title="earned", right=True),
        Column(title="refunded", right=True, importance=1),
    )
    print_rows(
        columns,
        [(name, f"{one.casts:,}", dollars(one.earned_micros), dollars(one.refunded_micros)) for name, one in rows],
        empty="Nothing was cast in this time.",
    )


def _show_balance(found: Earnings, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    columns = (Column(title="month"), Column(title="earned", right=True), Column(title="refunded", right=True))
    print_rows(columns, [_month(month) for month in found.months], empty="Nothing was earned yet.")
    facts = [
        ("pending", dollars(found.pending_micros)),
        ("payable", dollars(found.payable_micros)),
        ("under way", dollars(found.under_way_micros)),
        ("paid", dollars(found.paid_micros)),
    ]
    if found.lost_micros:
        facts.append(("lost", dollars(found.lost_micros)))
    if found.unbilled_micros:
        facts.append(("unbilled", dollars(found.unbilled_micros)))
    print_facts(facts, aside=True)


def _month(month: EarnedMonth) -> tuple[str, str, str]:
    return month.month, dollars(month.earned_micros), dollars(month.refunded_micros)
