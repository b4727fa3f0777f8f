"""`spell account`: all data of the account, to take along, or to be forgotten."""

import os
import sys
import time
from pathlib import Path
from typing import Final

import click
from rich_click import RichCommand, RichGroup

from spell.client import Client
from spell.commands.platform import platform, platform_options
from spell.exits import EXIT_FAILED, CommandError
from spell.models.exports import DataExport
from spell.screen import print_facts, print_json, say, size, when

# Of a minute's rate this is half; small exports are ready after five seconds.
LOOK_EVERY_S: Final = 2.0
# Everything about a person is in it.
_FILE_MODE: Final = 0o600


@click.group(cls=RichGroup)
def account() -> None:
    """Take along all data of your account, or have it erased."""


@account.command(cls=RichCommand)
@click.option("--output", type=click.Path(path_type=Path), help="Where to. Default: spell-export-DATE.zip, here.")
@click.option("--id", "export_id", metavar="ID", help="Fetch one that was asked for before.")
@click.option("--no-wait", is_flag=True, help="Ask for it, print its id, and fetch it later with --id.")
@platform_options
def export(*, output: Path | None, export_id: str | None, no_wait: bool, url: str | None, as_json: bool) -> None:
    """Export all data of your account: a zip of JSON files, made by the platform and kept there for a week.

    It needs the session of `spell login`; an API key may not.
    """
    if output is not None and output.exists():
        message = f"{output} exists; name another file with --output"
        raise click.UsageError(message)
    with platform(url) as client:
        found = client.account.export() if export_id is None else client.account.get_export(export_id)
        path = None
        if not no_wait:
            found = _wait(client, found)
            path = _fetch(client, found, output)
    if as_json:
        print_json({"export": found, "file": None if path is None else str(path)})
    elif path is None:
        click.echo(found.id)
    else:
        assert found.size_bytes is not None, "it is ready"
        print_facts([("file", str(path)), ("size", size(found.size_bytes)), ("as of", when(found.created_at))])


@account.command(cls=RichCommand)
@click.option("--confirm", metavar="HANDLE", help="The account's handle, to say that it is meant. Default: asks.")
@platform_options
def delete(*, confirm: str | None, url: str | None, as_json: bool) -> None:
    """Erase your account: sessions and keys end, nothing leads to you any more. It cannot be taken back.

    Credits and earnings that are left are lost. It needs `spell login` within the last 15 minutes.
    """
    with platform(url) as client:
        handle = client.account.whoami().handle
        if confirm is None:
            if not sys.stdin.isatty():
                message = f"nobody is at this terminal: say --confirm {handle}"
                raise click.UsageError(message)
            say("Everything goes but the books. Take your data along first: spell account export")
            confirm = click.prompt(f"Type {handle} to erase this account for good", err=True)
        erased = client.account.delete(confirm=confirm)
    if as_json:
        print_json(erased)
    else:
        say(
            f"{handle} is erased. Its rows in the books are {erased.handle} from now on. `spell logout` tidies up here."
        )


def _wait(client: Client, found: DataExport) -> DataExport:
    shown = -1
    while not found.is_final:
        if found.progress_percent != shown:
            shown = found.progress_percent
            say(f"{shown} % is done; `spell account export --id {found.id}` fetches it later as well")
        time.sleep(LOOK_EVERY_S)
        found = client.account.get_export(found.id)
    if found.status != "ready":
        message = f"the export {found.status}: {found.error or 'ask for another'}"
        raise CommandError(message, exit_code=EXIT_FAILED)
    return found


def _fetch(client: Client, found: DataExport, output: Path | None) -> Path:
    """Write the archive beside its place, and put it there once it is whole; nobody else may read it."""
    path = output or Path(f"spell-export-{found.created_at:%Y-%m-%d}.zip")
    part = path.with_name(f"{path.name}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE), "wb") as file:
            client.account.download_export(found.id, file)
        if path.exists():
            message = f"{path} exists; fetch it with --id {found.id} --output FILE"
            raise CommandError(message, exit_code=EXIT_FAILED)
        part.replace(path)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise CommandError(message, exit_code=EXIT_FAILED) from error
    finally:
        part.unlink(missing_ok=True)
    return path
