"""`spell dev`: the whole platform on this machine, until Ctrl-C. Nothing need be installed or set."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich_click import RichCommand

from operate.log_follower import LogFollower
from operate.stack import Platform, run_platform
from operate.supervisor import Supervisor

PORT_DEFAULT: Final = 8080
PORT_MAX: Final = 65_535
DATA_FOLDER_DEFAULT: Final = Path(".data")
_EXAMPLE: Final = Path(__file__).resolve().parent.parent / "spells" / "built" / "hello.wasm"


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
    default=PORT_DEFAULT,
    show_default=True,
    envvar="PORT",
    help="Where the api listens, on 127.0.0.1.",
)
@click.option("--json", "as_json", is_flag=True, help="When ready, print one line of JSON with addresses and keys.")
@click.option("--verbose", is_flag=True, help="Show the logs of all processes on standard error.")
def dev(*, data_dir: Path, port: int, as_json: bool, verbose: bool) -> None:
    """Run the whole platform here until Ctrl-C; the next start on the same folder goes on where this one ended.

    Settings in the environment apply; DATABASE_URL and REDIS_URL replace the embedded servers.
    """
    errors = Console(stderr=True, highlight=False)

    def report(line: str) -> None:
        errors.print(line, markup=False, soft_wrap=True)

    with (
        stopping_in_order(),
        LogFollower(data_dir / "logs", sys.stderr, enabled=verbose),
        run_platform(data_dir, port=port, environ=os.environ, report=report, with_issuer=True) as (
            platform,
            supervisor,
        ),
    ):
        if as_json:
            click.echo(msgspec.json.encode(platform))
        else:
            show(platform, data_dir, [*publishing(platform), casting(platform), *with_program(platform)])
        serve(supervisor)


def serve(supervisor: Supervisor) -> None:
    """Keep the processes running until SIGINT, SIGTERM or SIGHUP; another one then kills what has not ended."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            supervisor.hurry()
        stop.set()

    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, on_signal)
    supervisor.run(stop)


@contextmanager
def stopping_in_order() -> Generator[None]:
    """Turn SIGTERM and SIGHUP into what Ctrl-C is: everything that was started is stopped on the way out."""
    before = {name: signal.signal(name, signal.default_int_handler) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def show(platform: Platform, data_folder: Path, first_steps: Sequence[str]) -> None:
    """Say where the platform is and how to use it; `first_steps` are command lines that work as they are."""
    console = Console(highlight=False)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("[bold]url[/]", platform.url)
    facts.add_row("[bold]api key[/]", platform.api_key)
    facts.add_row("[bold]free key[/]", platform.free_api_key)
    facts.add_row("[bold]docs[/]", f"{platform.url}/docs")
    if platform.mail_url is not None:
        facts.add_row("[bold]mail[/]", platform.mail_url)
    if platform.stripe_url is not None:
        facts.add_row("[bold]stripe[/]", f"{platform.stripe_url}/stripe/")
    facts.add_row("[bold]data, logs[/]", f"{data_folder}, {data_folder / 'logs'}")
    console.print(Panel(facts, title="Spell Platform is ready", title_align="left", border_style="green"))
    console.print("Try:\n")
    for line in first_steps:
        console.print(line, soft_wrap=True, markup=False)
    console.print("\nCtrl-C stops it; the next start goes on with what is in the data folder.")


def publishing(platform: Platform) -> list[str]:
    """Return a command line that publishes the spell `hello`; none where the examples are not at hand."""
    if not _EXAMPLE.is_file():
        return []
    module = f"-H 'Content-Type: application/wasm' --data-binary @{_EXAMPLE}"
    return [f"curl -X PUT {_bearer(platform)} {module} {platform.url}/v1/spells/dev/hello/versions/1.0.0"]


def casting(platform: Platform) -> str:
    """Return a command line that casts the spell `hello`."""
    order = """-H 'Content-Type: application/json' -d '{"spell": "dev/hello", "input": "Ada"}'"""
    return f"curl {_bearer(platform)} {order} {platform.url}/v1/cast"


def with_program(platform: Platform) -> list[str]:
    """Return command lines that keep the key for the program `spell`, and cast with it."""
    program = program_name()
    return [
        f"echo {platform.api_key} | {program} login --url {platform.url} --with-key",
        f"{program} cast dev/hello Ada",
    ]


def program_name() -> str:
    """Return what to type for the program `spell`: where it is, unless it is on the PATH."""
    beside = Path(sys.executable).with_name("spell")
    found = shutil.which("spell")
    if not beside.is_file() or (found is not None and Path(found).samefile(beside)):
        return "spell"
    return os.path.relpath(beside)


def _bearer(platform: Platform) -> str:
    return f"-H 'Authorization: Bearer {platform.api_key}'"
