"""`spell init`: a small project that builds, in the language of one's choice."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click
import msgspec
from rich_click import RichCommand

from spell.building.project import LANGUAGES, NAME
from spell.exits import EXIT_USAGE, CommandError
from spell.screen import print_json, say

_TEMPLATES: Final = files("spell.templates")
_ENDING: Final = ".template"
# A file that begins with a dot would be overlooked in the templates' folder.
_RENAMED: Final = {"gitignore": ".gitignore"}


class _Needs(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a new project: what its greeting takes, ten times over, and a round number."""

    fuel: int
    memory_bytes: int


_MIB: Final = 1024 * 1024
_NEEDS: Final = {
    "c": _Needs(fuel=10_000_000, memory_bytes=4 * _MIB),
    "zig": _Needs(fuel=10_000_000, memory_bytes=4 * _MIB),
    "rust": _Needs(fuel=10_000_000, memory_bytes=4 * _MIB),
    # Go's runtime starts and maps its heap first.
    "go": _Needs(fuel=200_000_000, memory_bytes=64 * _MIB),
    # CPython starts and imports its library first.
    "python": _Needs(fuel=2_000_000_000, memory_bytes=128 * _MIB),
}


@click.command(cls=RichCommand)
@click.option("--lang", "language", type=click.Choice(LANGUAGES), required=True, help="What it is written in.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where it goes. Default: a folder of its name, here.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.argument("name")
def init(*, language: str, folder: Path | None, as_json: bool, name: str) -> None:
    """Make a small project NAME that builds: source, manifest, an example. Nothing that is there is overwritten."""
    if NAME.fullmatch(name) is None:
        message = f"{name!r} is no name for a spell; use 1 to 64 lower case letters, digits and inner hyphens"
        raise CommandError(message, exit_code=EXIT_USAGE)
    target = folder or Path(name)
    contents = {
        path: content
        for part in ("shared", language)
        for path, content in _rendered(_TEMPLATES / part, Path(), _words(name, language))
    }
    there = [path for path in contents if (target / path).exists()]
    if there:
        message = f"{target / there[0]} exists and is left as it is; choose another name, or another --dir"
        raise CommandError(message)
    try:
        for path, content in contents.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with (target / path).open("xb") as file:
                file.write(content)
    except OSError as error:
        message = f"{error.filename} cannot be made ({error.strerror}); choose another --dir"
        raise CommandError(message) from error
    made = [(target / path).as_posix() for path in sorted(contents)]
    if as_json:
        print_json({"name": name, "language": language, "folder": str(target), "files": made})
        return
    for path in made:
        click.echo(path)
    last = f"spell cast build/{name}.py INPUT" if language == "python" else "spell publish"
    say(f"Next: cd {target}, then spell build, spell test, {last}")


def _words(name: str, language: str) -> dict[str, str]:
    needs = _NEEDS[language]
    return {"@name@": name, "@fuel@": str(needs.fuel), "@memory_bytes@": str(needs.memory_bytes)}


def _rendered(folder: Traversable, place: Path, words: dict[str, str]) -> list[tuple[Path, bytes]]:
    """Return where each file of a template goes, and its content."""
    rendered: list[tuple[Path, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            rendered += _rendered(entry, place / entry.name, words)
            continue
        content, name = entry.read_bytes(), entry.name
        if name.endswith(_ENDING):
            name = name.removesuffix(_ENDING)
            for word, value in words.items():
                content = content.replace(word.encode(), value.encode())
        rendered.append((place / _RENAMED.get(name, name), content))
    return rendered
