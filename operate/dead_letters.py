"""`spell dead-letters`: messages that nobody will run, over HTTP with the operator's secret: look, cast again, drop."""

from typing import Final

import click
import msgspec
from rich_click import RichCommand, RichGroup

from operate.operator_http import asked, operator
from spell.commands.platform import platform_options
from spell.screen import Column, dollars, print_done, print_json, print_rows, say

# The api shows no more at once.
PAGE_MAX: Final = 100
_COLUMNS: Final = (
    Column(title="pool"),
    Column(title="id"),
    Column(title="cast", importance=1),
    Column(title="reason", shrinks=True),
)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One entry; `cast_id` is None where the message could not be read."""

    pool: str
    id: str
    reason: str
    cast_id: str | None


class _Letters(msgspec.Struct, frozen=True, kw_only=True):
    data: list[Letter]


class _Requeued(msgspec.Struct, frozen=True, kw_only=True):
    cast_id: str
    held_micros: int


@click.group(name="dead-letters", cls=RichGroup)
def dead_letters() -> None:
    """List what nobody will run, cast it once more, or drop it. Needs ADMIN_SECRET."""


@dead_letters.command(name="list", cls=RichCommand)
@click.option("--limit", type=click.IntRange(1, PAGE_MAX), default=PAGE_MAX, show_default=True)
@platform_options
def list_(*, limit: int, url: str | None, as_json: bool) -> None:
    """List the newest dead letters of every pool."""
    with operator(url) as http:
        found = msgspec.json.decode(asked(http, "GET", "/dead-letters", limit=limit), type=_Letters).data
    if as_json:
        print_json(found)
        return
    rows = [(letter.pool, letter.id, letter.cast_id or "?", letter.reason) for letter in found]
    print_rows(_COLUMNS, rows, empty="There is no dead letter.")


@dead_letters.command(cls=RichCommand)
@platform_options
@click.argument("pool")
@click.argument("letter_id", metavar="ID")
def requeue(*, url: str | None, as_json: bool, pool: str, letter_id: str) -> None:
    """Cast once more what the letter was for: a new cast with a new hold, for the same account."""
    with operator(url) as http:
        again = msgspec.json.decode(asked(http, "POST", f"/dead-letters/{pool}/{letter_id}/requeue"), type=_Requeued)
    if as_json:
        print_json(again)
        return
    click.echo(again.cast_id)
    say(f"It holds {dollars(again.held_micros)}")


@dead_letters.command(cls=RichCommand)
@platform_options
@click.argument("pool")
@click.argument("letter_id", metavar="ID")
def drop(*, url: str | None, as_json: bool, pool: str, letter_id: str) -> None:
    """Drop a letter. Its cast ended long before, and holds nothing."""
    with operator(url) as http:
        asked(http, "DELETE", f"/dead-letters/{pool}/{letter_id}")
    print_done(letter_id, "dropped", as_json=as_json)
