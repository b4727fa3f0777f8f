"""`spell casts` and `spell cancel`: what was cast, and what became of it."""

from itertools import islice
from typing import Final

import click
from rich_click import RichCommand, RichGroup

from spell.commands.cast import watch_cast
from spell.commands.cast_views import exit_code_of, output_of, show_ended, summary
from spell.commands.platform import platform, platform_options, rows_option, url_option
from spell.exits import EXIT_DONE
from spell.models.casts import FINAL_STATUSES, Cast
from spell.screen import Cell, Column, dollars, print_facts, print_json, print_rows, say, size, status, when

_PAGE_MAX: Final = 100
_STATUSES: Final = ("queued", "running", *sorted(FINAL_STATUSES))
_COLUMNS: Final = (
    Column(title="id"),
    Column(title="spell", shrinks=True),
    Column(title="status"),
    Column(title="cost", right=True),
    Column(title="fuel", right=True, importance=3),
    Column(title="time", right=True, importance=2),
    Column(title="made", importance=1),
)


@click.group(cls=RichGroup)
def casts() -> None:
    """List casts, look at one, read its log."""


@casts.command(name="list", cls=RichCommand)
@click.option("--status", "wanted", type=click.Choice(_STATUSES), help="Only these.")
@click.option("--spell", metavar="OWNER/NAME", help="Only casts of this spell.")
@click.option("--key", metavar="PREFIX", help="Only casts made with this key.")
@click.option("--test", is_flag=True, help="Casts of test keys instead of live ones.")
@rows_option
@platform_options
def list_(
    *,
    wanted: str | None,
    spell: str | None,
    key: str | None,
    test: bool,
    rows_max: int,
    url: str | None,
    as_json: bool,
) -> None:
    """List the account's casts, newest first."""
    with platform(url) as client:
        mode = "test" if test else None
        pages = client.casts.list(status=wanted, spell=spell, key=key, mode=mode, page_size=min(rows_max, _PAGE_MAX))
        found = list(islice(pages, rows_max))
    if as_json:
        print_json(found)
        return
    print_rows(_COLUMNS, [_row(cast) for cast in found], empty="No cast fits.")


@casts.command(cls=RichCommand)
@click.option("--watch", is_flag=True, help="Follow it until it has ended.")
@click.option("--output", "output_only", is_flag=True, help="Print its output and nothing else.")
@platform_options
@click.argument("cast_id", metavar="ID")
def show(*, watch: bool, output_only: bool, url: str | None, as_json: bool, cast_id: str) -> int:
    """Show a cast as it is now: result, what it used and cost."""
    with platform(url) as client:
        cast = client.casts.get(cast_id)
        if watch and not cast.is_final:
            cast = watch_cast(client, cast, as_json=as_json)
        elif as_json:
            print_json(cast)
    if as_json:
        return exit_code_of(cast) if watch else EXIT_DONE
    if output_only:
        click.echo(output_of(cast), nl=False)
    elif watch:
        show_ended(cast)
    else:
        _show(cast)
    return exit_code_of(cast) if watch else EXIT_DONE


@casts.command(cls=RichCommand)
@url_option
@click.argument("cast_id", metavar="ID")
def log(*, url: str | None, cast_id: str) -> None:
    """Print what the spell wrote on its standard error, byte for byte."""
    with platform(url) as client:
        click.echo(client.casts.log(cast_id), nl=False)


@click.command(cls=RichCommand)
@platform_options
@click.argument("cast_ids", metavar="ID...", nargs=-1, required=True)
def cancel(*, url: str | None, as_json: bool, cast_ids: tuple[str, ...]) -> None:
    """Cancel casts: free before they start; a running one is stopped and pays for what it used."""
    with platform(url) as client:
        for cast_id in cast_ids:
            cast = client.casts.cancel(cast_id)
            if as_json:
                print_json(cast)
            else:
                say(summary(cast))


def _row(cast: Cast) -> tuple[Cell, ...]:
    micros = cast.cost.cost_micros
    usage = cast.usage
    return (
        cast.id,
        f"{cast.spell}@{cast.version}",
        status(cast.status),
        "" if micros is None else dollars(micros),
        "" if usage is None or usage.fuel is None else f"{usage.fuel:,}",
        "" if usage is None or usage.duration_ms is None else f"{usage.duration_ms:.1f} ms",
        when(cast.created_at),
    )


def _show(cast: Cast) -> None:
    cost, usage = cast.cost, cast.usage
    facts: list[tuple[str, Cell]] = [
        ("cast", cast.id),
        ("spell", f"{cast.spell}@{cast.version}"),
        ("status", status(cast.status)),
        ("held", dollars(cost.held_micros)),
    ]
    if cast.error is not None:
        facts.append(("why", f"{cast.error.code}: {cast.error.message}"))
    if cost.cost_micros is not None:
        facts.append(("cost", f"{dollars(cost.cost_micros)} ({cost.funding})"))
    if usage is not None and usage.fuel is not None:
        facts.append(("fuel", f"{usage.fuel:,}"))
    if usage is not None and usage.memory_bytes_peak is not None:
        facts.append(("memory", size(usage.memory_bytes_peak)))
    if usage is not None and usage.duration_ms is not None:
        facts.append(("time", f"{usage.duration_ms:g} ms"))
    facts += [("made", when(cast.created_at)), ("ended", when(cast.finished_at))]
    if cast.log:
        facts.append(("log", cast.log))
    if cast.output_encoding == "base64":
        facts.append(("output", f"{size(len(output_of(cast)))} of bytes: spell casts show {cast.id} --output > FILE"))
    elif cast.output_encoding is not None:
        facts.append(("output", output_of(cast).decode("utf-8", "replace")))
    print_facts(facts)
