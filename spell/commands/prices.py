"""`spell price` and `spell quote`: what a spell costs, what it will cost, and what a cast of it would."""

from typing import Any

import click
import msgspec
from rich_click import RichCommand

from spell.commands.amounts import DOLLARS_TO_MICROS, LimitOption, limits_of
from spell.commands.inputs import read_input
from spell.commands.platform import platform, platform_options
from spell.exits import EXIT_USAGE, CommandError
from spell.models.prices import NextPrice, Price
from spell.models.receipts import Quote
from spell.screen import dollars, print_facts, print_json, say, when


@click.command(cls=RichCommand)
@click.option("--per-cast", "per_cast_micros", type=DOLLARS_TO_MICROS, help="Dollars for each cast with a result.")
@click.option("--per-output-kib", "per_output_kib_micros", type=DOLLARS_TO_MICROS, help="And for each KiB of output.")
@click.option("--per-unit", "per_unit_micros", type=DOLLARS_TO_MICROS, help="And for each unit the spell reports.")
@platform_options
@click.argument("spell", metavar="OWNER/NAME@VERSION")
def price(
    *,
    per_cast_micros: int | None,
    per_output_kib_micros: int | None,
    per_unit_micros: int | None,
    url: str | None,
    as_json: bool,
    spell: str,
) -> None:
    """Show what a version costs; with options, name its whole price: lower at once, higher in 14 days."""
    name, _, version = spell.partition("@")
    parts = {
        "per_cast_micros": per_cast_micros,
        "per_output_kib_micros": per_output_kib_micros,
        "per_unit_micros": per_unit_micros,
    }
    given = {part: micros for part, micros in parts.items() if micros is not None}
    if given and not version:
        message = f"a price belongs to one version: write {name}@1.2.0"
        raise CommandError(message, exit_code=EXIT_USAGE)
    with platform(url) as client:
        if given:
            found = client.spells.set_price(name, version, **given)
        else:
            found = client.spells.version(name, version or "latest").price
    if as_json:
        print_json(found)
        return
    print_facts(price_facts(found))


@click.command(cls=RichCommand)
@click.option("--raw", is_flag=True, help="The input is bytes, also where it is JSON.")
@click.option(
    "--limit", "limits", type=LimitOption(), multiple=True, help="Like fuel=10M, wall_ms=500, memory_bytes=8MiB."
)
@platform_options
@click.argument("spell", metavar="OWNER/NAME[@VERSION]")
@click.argument("text", metavar="[INPUT]", required=False)
def quote(
    *, raw: bool, limits: tuple[tuple[str, int], ...], url: str | None, as_json: bool, spell: str, text: str | None
) -> None:
    """Say what a cast would cost at most, and have it promised for 15 minutes: spell cast --quote TEXT."""
    given: Any = msgspec.UNSET if text is None else read_input(text, raw=raw).value
    with platform(url) as client:
        made = client.spells.quote(spell, given, limits=limits_of(limits))
    if as_json:
        print_json(made)
        return
    print_facts(_quote_facts(made), aside=True)
    click.echo(made.quote)
    say(f"Cast it: spell cast {made.spell} INPUT --quote TEXT")


def price_facts(asked: Price) -> list[tuple[str, str]]:
    """Return what a creator asks, and what was announced, for people."""
    parts = _parts(asked, asked)
    facts = [("price", f"{parts} to its creator, beside the platform's fee and fuel" if parts else _NOTHING)]
    if asked.next is not None:
        facts.append(("announced", f"{_parts(asked.next, asked) or 'nothing'} from {when(asked.next.effective_at)}"))
    return facts


_NOTHING = "the platform's fee and fuel alone"


def _parts(price: Price | NextPrice, asked: Price) -> str:
    unit = asked.unit or "unit"
    parts = (
        (price.per_cast_micros, "a cast"),
        (price.per_output_kib_micros, "a KiB of output"),
        (price.per_unit_micros, f"a {unit} (at most {asked.units_max:,})"),
    )
    return ", ".join(f"{dollars(micros)} {per}" for micros, per in parts if micros)


def _quote_facts(made: Quote) -> list[tuple[str, str]]:
    return [
        ("spell", f"{made.spell}@{made.version}"),
        ("at most", dollars(made.max_price_micros)),
        ("good until", when(made.expires_at)),
    ]
