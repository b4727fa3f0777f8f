"""`spell store` and `spell info`: find a spell, and see what it takes and gives."""

from itertools import islice
from typing import Final

import click
import msgspec
from rich_click import RichCommand

from spell.commands.platform import platform, platform_options, rows_option
from spell.commands.publish import version_facts
from spell.models.spells import SpellDetail, SpellVersion
from spell.screen import Column, is_terminal, print_facts, print_json, print_rows, say, when

_COLUMNS: Final = (
    Column(title="spell"),
    Column(title="description", shrinks=True),
    Column(title="seen by", importance=2),
    Column(title="made", importance=1),
)


@click.command(cls=RichCommand)
@click.option("--tag", help="Only spells with this tag.")
@rows_option
@platform_options
@click.argument("query", required=False)
def store(*, tag: str | None, rows_max: int, url: str | None, as_json: bool, query: str | None) -> None:
    """Search the store: QUERY is looked for in names and descriptions."""
    with platform(url) as client:
        found = list(islice(client.spells.list(query=query, tag=tag, page_size=min(rows_max, 100)), rows_max))
    if as_json:
        print_json(found)
        return
    rows = [(spell.spell, spell.description, spell.visibility, when(spell.created_at)) for spell in found]
    print_rows(_COLUMNS, rows, empty="No spell fits; `spell store` alone lists all.")


@click.command(cls=RichCommand)
@platform_options
@click.argument("spell", metavar="OWNER/NAME[@VERSION]")
def info(*, url: str | None, as_json: bool, spell: str) -> None:
    """Show a spell: what it takes and gives, its limits, its price, its versions."""
    name, _, wanted = spell.partition("@")
    with platform(url) as client:
        detail = client.spells.get(name)
        version = client.spells.version(name, wanted) if wanted else detail.latest
        versions = client.spells.versions(name)
    if as_json:
        print_json({**msgspec.structs.asdict(detail), "version": version, "versions": versions})
        return
    _show(detail, version, versions)


def _show(detail: SpellDetail, version: SpellVersion | None, versions: tuple[SpellVersion, ...]) -> None:
    facts: list[tuple[str, str]] = [("description", detail.description), ("seen by", detail.visibility)]
    if detail.suspended:
        facts.append(("suspended", "by the operator: it cannot be cast"))
    if version is None:
        print_facts([("spell", detail.spell), *facts])
        say("It has no version to cast yet.")
        return
    known = version_facts(version)
    facts += [
        (field.replace("_", " "), msgspec.json.encode(version.manifest[field]).decode())
        for field in ("input_schema", "output_schema")
        if field in version.manifest
    ]
    listed = [f"{one.version}{' (yanked)' if one.yanked else ''}" for one in versions]
    facts += [*known[1:], ("versions", ", ".join(listed)), ("published", when(version.created_at))]
    print_facts([known[0], *facts])
    if is_terminal():
        say(f"Cast it: spell cast {detail.spell} INPUT")
