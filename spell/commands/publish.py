"""`spell publish`: a project's module into the store."""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich_click import RichCommand

from spell.building.module import manifest_of
from spell.building.project import VERSION
from spell.client import Client
from spell.commands.build import built
from spell.commands.login import handle_of
from spell.commands.platform import platform, platform_options
from spell.commands.prices import price_facts
from spell.errors import Conflict
from spell.exits import EXIT_USAGE, CommandError
from spell.models.spells import SpellVersion
from spell.screen import print_facts, print_json, say, size, stderr


@click.command(cls=RichCommand)
@click.option("--version", "version", metavar="VERSION", help="Default: what spell.json says.")
@click.option("--owner", help="Whose spell it is. Default: the key's own account.")
@click.option(
    "--visibility",
    type=click.Choice(("public", "unlisted", "private")),
    help="Who sees it. Default: as before.",
)
@click.option("--build/--no-build", "anew", default=True, help="Compile first, or take what `spell build` made.")
@platform_options
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def publish(
    *,
    version: str | None,
    owner: str | None,
    visibility: str | None,
    anew: bool,
    url: str | None,
    as_json: bool,
    folder: Path,
) -> None:
    """Build the project in FOLDER (default: here) and publish it. A version never changes; the same again is fine."""
    if version is not None and VERSION.fullmatch(version) is None:
        message = f"{version!r} is no version; write it like 1.2.0"
        raise CommandError(message, exit_code=EXIT_USAGE)
    project, module = built(folder, anew=anew)
    if project.language == "python":
        message = (
            f"a Python program is no module, so it is not published: cast it with `spell cast {project.target} INPUT`, "
            "which runs it in runtime/python"
        )
        raise CommandError(message, exit_code=EXIT_USAGE)
    number = version or project.version
    with platform(url) as client, stderr().status("asking whose key it is") as status:
        name = f"{owner or handle_of(client)}/{project.name}"
        status.update(f"publishing {name}@{number} ({size(len(module))}); the platform compiles it")
        if visibility is not None:
            _show_to(client, name, visibility)
        published = client.spells.publish(name, number, module, _manifest(module, number))
    if as_json:
        print_json(published)
        return
    print_facts(version_facts(published))
    say(f"Cast it: spell cast {published.spell}@{published.version} INPUT")


def version_facts(version: SpellVersion) -> list[tuple[str, str]]:
    """Return what is worth knowing of a version, for people."""
    limits = version.limits
    return [
        ("spell", f"{version.spell}@{version.version}"),
        ("digest", version.digest),
        ("size", size(version.size_bytes)),
        (
            "limits",
            f"fuel {limits.fuel:,}, {limits.wall_ms / 1000:g} s, memory {size(limits.memory_bytes)}",
        ),
        ("input", f"at most {size(version.input_bytes_max)}"),
        ("output", f"at most {size(limits.output_bytes)}"),
        *price_facts(version.price),
    ]


def _show_to(client: Client, name: str, visibility: str) -> None:
    """Set who sees the spell before anything is in it: a private one is public at no moment."""
    try:
        client.spells.create(name.partition("/")[2], visibility=visibility)
    except Conflict:
        client.spells.edit(name, visibility=visibility)


def _manifest(module: bytes, number: str) -> bytes | None:
    """Return the manifest to send beside the module: none, the one inside counts, unless it says another version."""
    inside = manifest_of(module)
    manifest = {} if inside is None else msgspec.json.decode(inside, type=dict[str, Any])
    if manifest.get("version", number) == number:
        return None
    return msgspec.json.encode({**manifest, "version": number})
