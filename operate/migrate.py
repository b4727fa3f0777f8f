"""`spell migrate`: move the schema forward or back, or ask whether it is current."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable

import click
from click.exceptions import Exit
from rich_click import RichCommand

from domain.settings import MigrationSettings, SettingsError, load
from migrations import runner
from migrations.files import MigrationError
from spell.cli import EXIT_NO, EXIT_USAGE, CommandError


@click.command(cls=RichCommand)
@click.option("--check", is_flag=True, help="Change nothing; exit with 3 when something is left to apply.")
@click.option("--down", "steps_down", type=click.IntRange(min=1), help="Take back the last N migrations.", metavar="N")
@click.option("--target", type=click.IntRange(min=1), help="Stop after this migration.", metavar="NUMBER")
@click.option("--database-url", help="The owner's database. Default: MIGRATIONS_DATABASE_URL, then DATABASE_URL.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(
    *, check: bool, steps_down: int | None, target: int | None, database_url: str | None, as_json: bool
) -> None:
    """Bring the database to the schema of this version. Safe to run twice and from many machines at once."""
    if sum((check, steps_down is not None, target is not None)) > 1:
        message = "--check, --down and --target exclude each other; choose one"
        raise click.UsageError(message)
    url = _database_url(database_url)
    report = _silent if as_json else click.echo
    if check:
        pending = _run(lambda: runner.check(url))
        _print({"pending": pending}, as_json=as_json, nothing="the schema is current")
        if pending:
            raise Exit(EXIT_NO)
    elif steps_down is not None:
        undone = _run(lambda: runner.down(url, steps_down, report=report))
        _print({"taken_back": undone}, as_json=as_json, nothing="nothing is applied")
    else:
        applied = _run(lambda: runner.migrate(url, target=target, report=report))
        _print({"applied": applied}, as_json=as_json, nothing="nothing to do: the schema is current")


def _database_url(given: str | None) -> str:
    environ = dict(os.environ)
    if given is not None:
        environ["MIGRATIONS_DATABASE_URL"] = given
    try:
        return load(MigrationSettings, environ).migrations_database_url.reveal()
    except SettingsError as error:
        raise CommandError(str(error), exit_code=EXIT_USAGE) from error


def _run(work: Callable[[], Awaitable[list[str]]]) -> list[str]:
    async def awaited() -> list[str]:
        return await work()

    try:
        return asyncio.run(awaited())
    except MigrationError as error:
        raise CommandError(str(error)) from error


def _print(answer: dict[str, list[str]], *, as_json: bool, nothing: str) -> None:
    if as_json:
        click.echo(json.dumps(answer))
        return
    ((what, names),) = answer.items()
    click.echo(f"{what.replace('_', ' ')}: {', '.join(names)}" if names else nothing)


def _silent(_line: str) -> None:
    """Say nothing: the JSON object at the end says it all."""
