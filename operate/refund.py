"""`spell refund`: pay a settled cast back, over HTTP with the operator's secret."""

import click
import msgspec
from rich_click import RichCommand

from operate.operator_http import asked, operator
from spell.commands.platform import platform_options
from spell.core.names import segment
from spell.screen import dollars, print_json, say


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """What was paid back; `made` is false when it had been before."""

    cast_id: str
    account_id: str
    amount_micros: int
    reason: str
    made: bool


@click.command(cls=RichCommand)
@click.option("--reason", required=True, help="Stands on the cast's receipt.")
@platform_options
@click.argument("cast_id", metavar="ID")
def refund(*, reason: str, url: str | None, as_json: bool, cast_id: str) -> None:
    """Pay a settled cast back, whole and once: its invoice or credits get it, its creator gives his share."""
    with operator(url) as http:
        answer = asked(http, "POST", f"/casts/{segment(cast_id)}/refund", body={"reason": reason})
    found = msgspec.json.decode(answer, type=Refund)
    if as_json:
        print_json(found)
        return
    click.echo(found.cast_id)
    before = "" if found.made else " before, and not again"
    say(f"{dollars(found.amount_micros)} were paid back{before}: {found.reason}")
