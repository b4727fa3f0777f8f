"""`spell demo`: from nothing to a published spell, its results, its price, and a budget that holds."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
import httpx
from rich.console import Console
from rich_click import RichCommand

from local.folder import LocalServerError, make_private_folder
from local.ports import is_free, kept_port
from operate import demo_steps as steps
from operate.demo_client import open_client
from operate.dev import PORT_DEFAULT, PORT_MAX, casting, program_name, serve, show, stopping_in_order, with_program
from operate.stack import Platform, run_platform
from spell.cli import CommandError

DATA_FOLDER_DEFAULT: Final = Path(".data/demo")


@click.command(cls=RichCommand)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA_FOLDER_DEFAULT,
    show_default=True,
    help="Where everything is kept; made when missing.",
)
@click.option(
    "--port",
    type=click.IntRange(1, PORT_MAX),
    envvar="PORT",
    help=f"Where the api listens, on 127.0.0.1. Default: {PORT_DEFAULT}, or a free one when that is taken.",
)
def demo(*, data_dir: Path, port: int | None) -> None:
    """Start the platform, publish spells, cast them, see what they cost and how a budget stops them.

    At a terminal it then keeps serving until Ctrl-C. Running it again goes on with the same data.
    """
    console = Console(highlight=False)
    with stopping_in_order(), ExitStack() as stack:
        with console.status("starting Postgres, Redis and the processes of the platform"):
            started = time.monotonic()
            context = run_platform(data_dir, port=port or _free_port(data_dir), environ=os.environ, report=_silent)
            platform, supervisor = stack.enter_context(context)
        console.print(f"The platform is up after {time.monotonic() - started:.1f} s at {platform.url}")
        try:
            tell(console, platform, data_dir)
        except httpx.HTTPError as error:
            message = f"the api did not answer ({error}): look into {data_dir / 'logs'}, then run the demo again"
            raise CommandError(message) from error
        if console.is_terminal:
            console.print()
            show(platform, data_dir, [casting(platform), *with_program(platform)])
            serve(supervisor)
        else:
            console.print(
                f"Everything works. `{program_name()} dev --data-dir {data_dir}` starts the platform again and keeps "
                "it running; docs/first-cast.md goes on from there.",
                soft_wrap=True,
            )


def tell(console: Console, platform: Platform, data_folder: Path) -> None:
    """Run the steps in order, as a user of the platform's HTTP interface."""
    with open_client(platform.url, platform.api_key) as client:
        _chapter(console, "Publish: a spell is a WASM program; one is built here from its source")
        steps.publish_examples(console, client)
        _chapter(console, "Cast: on a real text, and on a real picture")
        steps.cast_text(console, client)
        steps.cast_image(console, client, data_folder)
        _chapter(console, f"Many: {steps.CASTS:,} casts, each in a sandbox of its own")
        steps.cast_many(console, client)
        _chapter(console, "Budget: money is held before the work, so a limit is never passed")
        steps.reach_budget(console, client)
        _chapter(console, "Books: every cast is a transfer in a double-entry ledger")
        steps.balance_books(console, client, platform.admin_secret)


def _chapter(console: Console, title: str) -> None:
    console.print()
    console.rule(f"[bold]{title}[/]", align="left")


def _free_port(data_folder: Path) -> int:
    """Return the usual port, or a free one that the folder keeps when that is taken."""
    if is_free(PORT_DEFAULT):
        return PORT_DEFAULT
    try:
        make_private_folder(data_folder)
        return kept_port(data_folder / "port")
    except LocalServerError as error:
        raise CommandError(str(error)) from error


def _silent(_line: str) -> None:
    """Say nothing: the demo tells its own story, and a failure brings its reason."""
