"""The program `spell`. The user's commands are here; the operator's join it when the server part is installed.

Exit codes: 0 done, 1 it failed, 2 wrong usage or settings, 3 the answer to a question was no (`migrate --check`).
"""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Final, cast

import click
from rich_click import RichGroup

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO: Final = 3
# What a shell reports for a program that SIGINT ended.
EXIT_INTERRUPTED: Final = 130

PLUGIN_GROUP: Final = "spell.commands"


class CommandError(Exception):
    """A command failed for a reason the caller can act on: one line for each, which ends with the next step."""

    def __init__(self, message: str, *, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class SpellGroup(RichGroup):
    """The commands, and why some of them may be absent."""

    absent_because: str | None = None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; when it is unknown, say also which commands are not installed."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if self.absent_because is None:
                raise
            message = f"{error.message} {self.absent_because}"
            raise click.UsageError(message, ctx) from error


@click.group(cls=SpellGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("spell-platform"), prog_name="spell")
def spell() -> None:
    """Publish WASM programs, cast them, and see what they cost."""


def load_plugins(group: SpellGroup, plugins: Iterable[EntryPoint]) -> None:
    """Let each of `plugins` add its commands to `group`.

    A plugin that cannot be imported because a distribution is missing leaves a hint; any other error is a defect and
    is raised.
    """
    for plugin in plugins:
        try:
            register = cast("Callable[[click.Group], None]", plugin.load())
        except ModuleNotFoundError as error:
            group.absent_because = (
                f"The operator's commands (dev, demo, migrate, ...) are absent, because {error.name} is not installed; "
                "add them with: pip install 'spell-platform[server,local]'"
            )
            group.epilog = group.absent_because
        else:
            register(group)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. What went wrong is on standard error, a line for each thing."""
    try:
        code: object = spell.main(list(arguments), prog_name="spell", standalone_mode=False)
    except CommandError as error:
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; without a place to write, Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code if isinstance(code, int) else EXIT_DONE


def main() -> None:
    """Run the program on the arguments of the process, and exit."""
    load_plugins(spell, entry_points(group=PLUGIN_GROUP))
    sys.exit(run(sys.argv[1:]))
