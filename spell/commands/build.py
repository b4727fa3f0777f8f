"""`spell build`: the module of a project, with its manifest inside."""

import hashlib
import time
from pathlib import Path

import click
from rich_click import RichCommand

from spell.building.compile import build as build_project
from spell.building.project import LANGUAGES, Project, load_project
from spell.building.toolchains import BuildError
from spell.exits import CommandError
from spell.screen import print_facts, print_json, size, stderr


@click.command(cls=RichCommand)
@click.option("--lang", "language", type=click.Choice(LANGUAGES), help="Its language. Default: what its files say.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def build(*, language: str | None, as_json: bool, folder: Path) -> None:
    """Compile the project in FOLDER (default: here) to build/NAME.wasm, its manifest inside."""
    started = time.monotonic()
    project, module = built(folder, language)
    seconds = time.monotonic() - started
    digest = f"sha256:{hashlib.sha256(module).hexdigest()}"
    if as_json:
        print_json(
            {
                "name": project.name,
                "version": project.version,
                "language": project.language,
                "path": str(project.target),
                "size_bytes": len(module),
                "digest": digest,
            }
        )
        return
    print_facts(
        [
            ("spell", f"{project.name} {project.version} ({project.language})"),
            ("module" if project.target.suffix == ".wasm" else "program", str(project.target)),
            ("size", size(len(module))),
            ("digest", digest),
            ("took", f"{seconds:.1f} s"),
        ]
    )


def loaded(folder: Path, language: str | None = None) -> Project:
    """Return the project in `folder`. Raises CommandError."""
    try:
        return load_project(folder, language=language)
    except BuildError as error:
        raise CommandError(str(error)) from error


def built(folder: Path, language: str | None = None, *, anew: bool = True) -> tuple[Project, bytes]:
    """Return the project in `folder` and its module, or its Python program, built now. Raises CommandError.

    Not `anew`: what the last `spell build` made, byte for byte.
    """
    project = loaded(folder, language)
    if not anew:
        return project, _made_before(project)
    try:
        with stderr().status(f"compiling {project.name} ({project.language})"):
            return project, build_project(project)
    except BuildError as error:
        raise CommandError(str(error)) from error


def _made_before(project: Project) -> bytes:
    try:
        return project.target.read_bytes()
    except OSError as error:
        message = f"{project.target} cannot be read ({error.strerror}): run `spell build`, or leave --no-build out"
        raise CommandError(message) from error
