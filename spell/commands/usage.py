"""`spell usage`: what the account used, as a chart, a table or a file."""

import re
from collections.abc import Sequence
from typing import Final

import click
import msgspec
from rich.text import Text
from rich_click import RichCommand

from spell.commands.platform import platform, platform_options
from spell.models.usage import Tally, UsageNow
from spell.screen import Cell, Column, dollars, is_terminal, print_facts, print_json, print_rows, say, stdout, when

_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
BAR_CHARACTERS_MAX: Final = 40
# Beside the bar stand a name, two numbers and an amount.
_REST_CHARACTERS: Final = 56
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_EIGHTHS_PER_CHARACTER: Final = 8
_GROUPS: Final = ("day", "month", "spell", "key")


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the chart."""

    name: str
    tally: Tally


@click.command(cls=RichCommand)
@click.option("--by", type=click.Choice(_GROUPS), default="day", show_default=True, help="What each bar is.")
@click.option("--month", metavar="YYYY-MM", help="Which month, in UTC. Default: this one.")
@click.option("--test", is_flag=True, help="Count the casts of test keys instead.")
@click.option("--export", "export_format", type=click.Choice(("csv", "json")), help="Print every cast of the month.")
@platform_options
def usage(*, by: str, month: str | None, test: bool, export_format: str | None, url: str | None, as_json: bool) -> None:
    """Show what the account used of a month, by day, spell or key; or of six months, by month."""
    if month is not None and _MONTH.fullmatch(month) is None:
        message = f"{month!r} is no month; write it like 2026-11"
        raise click.UsageError(message)
    if by == "month" and month is not None:
        message = "--by month shows the last six months; leave --month out"
        raise click.UsageError(message)
    mode = "test" if test else None
    with platform(url) as client:
        if export_format is not None:
            click.echo(client.usage.export(format=export_format, month=month, mode=mode), nl=False)
            return
        if by == "month":
            months = client.usage.trends(mode=mode)
            if as_json:
                print_json(months)
            else:
                _chart("month", [Bar(name=one.month, tally=one) for one in months])
            return
        parts = client.usage.breakdown(by=by, month=month, mode=mode)
        total = client.usage.now(month=month, mode=mode)
    if as_json:
        print_json({"total": total, "by": parts.by, "data": parts.data, "has_more": parts.has_more})
        return
    _chart(by, [Bar(name=part.name or part.label, tally=part) for part in parts.data])
    if parts.has_more:
        say("There are more; --export has all.")
    _show_total(total)


def _chart(what: str, bars: Sequence[Bar]) -> None:
    """Print the bars: their length is the cost, or the number of casts where nothing cost anything."""
    by_cost = any(bar.tally.cost_micros for bar in bars)
    values = [bar.tally.cost_micros if by_cost else bar.tally.casts for bar in bars]
    most = max(values, default=0)
    columns = [
        Column(title=what, shrinks=True),
        Column(title="casts", right=True),
        Column(title="failed", right=True, importance=2),
        Column(title="fuel", right=True, importance=3),
        Column(title="cost", right=True),
    ]
    room = max(0, min(BAR_CHARACTERS_MAX, stdout().width - _REST_CHARACTERS)) if is_terminal() else 0
    if room:
        columns.append(Column(title="cost" if by_cost else "casts", importance=1))
    rows: list[tuple[Cell, ...]] = []
    for bar, value in zip(bars, values, strict=True):
        tally = bar.tally
        row = (bar.name, f"{tally.casts:,}", f"{tally.failed:,}", f"{tally.fuel:,}", dollars(tally.cost_micros))
        rows.append((*row, Text(_bar(value, most, room), style="cyan")) if room else row)
    print_rows(columns, rows, empty="Nothing was cast in this time.")


def _bar(value: int, most: int, characters: int) -> str:
    """Return a bar as long as `value` of `most`, to an eighth of a character; the least that is not nothing shows."""
    if not value:
        return ""
    eighths = max(1, characters * _EIGHTHS_PER_CHARACTER * value // most)
    whole, rest = divmod(eighths, _EIGHTHS_PER_CHARACTER)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _show_total(total: UsageNow) -> None:
    facts: list[tuple[str, Cell]] = [
        ("month", f"{total.month}, ends {when(total.resets_at)}"),
        ("casts", f"{total.casts:,} ({total.failed:,} failed)"),
        ("cost", dollars(total.cost_micros)),
        ("held", dollars(total.held_micros)),
    ]
    for name, allowance in (("free", total.free_allowance), ("test", total.test_allowance)):
        if allowance is not None:
            facts.append((f"{name} casts left", f"{allowance.left:,} of {allowance.limit:,}"))
    print_facts(facts, aside=True)
