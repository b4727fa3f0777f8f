"""The program `spell`. The user's commands are here; the operator's join it when the server part is installed.

Exit codes, for scripts:
0 done · 1 it failed (the platform's trouble, the network, a conflict) · 2 wrong usage, settings or input ·
3 the answer to a question was no (`migrate --check`, an example of `test` that gives something else) ·
4 money: a budget, credits or a price stands against it (402) · 5 busy or over the rate, after retries (429, 503) ·
6 not authorised (401, 403) · 7 not found · 8 the cast itself failed, expired or was canceled ·
130 interrupted (SIGINT).
"""

import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, Final

import click
from rich_click import RichCommandPanel, RichGroup

from spell.commands.account import account
from spell.commands.billing import billing, plans
from spell.commands.budgets import budgets
from spell.commands.build import build
from spell.commands.cast import cast
from spell.commands.casts import cancel, casts
from spell.commands.completion import completion
from spell.commands.credits import credits as credits_
from spell.commands.earnings import earnings
from spell.commands.init import init
from spell.commands.invoices import invoices
from spell.commands.keys import keys
from spell.commands.login import login, logout, whoami
from spell.commands.payouts import payouts
from spell.commands.platform import command_error
from spell.commands.prices import price, quote
from spell.commands.publish import publish
from spell.commands.receipt import receipt
from spell.commands.store import info, store
from spell.commands.usage import usage
from spell.commands.webhooks import webhooks
from spell.errors import SpellError
from spell.exits import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NO, EXIT_USAGE, CommandError
from spell.screen import silence_stdout

__all__ = ["EXIT_DONE", "EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_NO", "EXIT_USAGE", "CommandError"]

# Two lines of a narrow terminal.
SHORT_HELP_CHARACTERS_MAX: Final = 120
PLUGIN_GROUP: Final = "spell.commands"
# What brings the commands of each plugin, by the name of its entry point.
_MISSING: Final = {
    "operate": (
        "The operator's commands (dev, demo, migrate, ...) are absent, because {} is not installed; "
        "add them with: pip install 'spell-platform[server,local]'"
    ),
    "run": "The command test is absent, because {} is not installed; add it with: pip install 'spell-platform[run]'",
}


class SpellGroup(RichGroup):
    """The commands, and why some of them may be absent."""

    absent_because: str | None = None

    def add_command(self, cmd: click.Command, *names: Any, **options: Any) -> None:  # passed on as they came
        """Add a command, of which lists show the first sentence alone."""
        if cmd.short_help is None:
            cmd.short_help = cmd.get_short_help_str(limit=SHORT_HELP_CHARACTERS_MAX)
        super().add_command(cmd, *names, **options)

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


COMMANDS: Final[tuple[click.Command, ...]] = (
    *(init, build, publish, price, store, info, quote, cast, casts, cancel, receipt),
    *(login, logout, whoami, keys, budgets, credits_, plans, billing, usage, invoices),
    *(earnings, payouts, webhooks, account),
    completion,
)
for command in COMMANDS:
    spell.add_command(command)

# What a plugin puts its own command in the place of.
PLUGIN_CHANGES: Final = frozenset({"billing", "credits", "keys", "payouts"})

# How `spell --help` shows them; a command of a plugin that is not installed is left out.
PANELS: Final[Mapping[str, tuple[str, ...]]] = {
    "Write a spell": ("init", "build", "test", "publish", "price"),
    "Cast": ("store", "info", "quote", "cast", "casts", "cancel", "receipt"),
    "Account": (
        *("login", "logout", "whoami", "keys", "budgets", "plans", "billing", "credits"),
        *("usage", "invoices", "earnings", "payouts", "webhooks", "account"),
    ),
    "Operate a platform": (
        *("demo", "dev", "doctor", "migrate", "release", "runtimes"),
        *("users", "dead-letters", "inbox", "reconcile", "refund"),
    ),
    "This program": ("completion",),
}
for panel, names in PANELS.items():
    spell.add_panel(RichCommandPanel(panel, commands=list(names)))


def load_plugins(group: SpellGroup, plugins: Iterable[EntryPoint]) -> None:
    """Let each of `plugins` add its commands to `group`.

    A plugin that cannot be imported because a distribution is missing leaves a hint; any other error is a defect and
    is raised.
    """
    hints: list[str] = []
    for plugin in plugins:
        try:
            register = typing.cast("Callable[[click.Group], None]", plugin.load())
        except ModuleNotFoundError as error:
            hints.append(_MISSING.get(plugin.name, _MISSING["operate"]).format(error.name))
        else:
            register(group)
    if hints:
        group.absent_because = group.epilog = " ".join(hints)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. What went wrong is on standard error, a line for each thing."""
    try:
        code: object = spell.main(list(arguments), prog_name="spell", standalone_mode=False)
        # What is still in the buffer meets a closed pipe here, not while Python ends.
        sys.stdout.flush()
    except CommandError as error:
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        return error.exit_code
    except SpellError as error:
        failure = command_error(error)
        click.echo(f"error: {failure}", err=True)
        return failure.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough: no word about it, as with any filter.
        silence_stdout()
        return EXIT_FAILED
    return code if isinstance(code, int) else EXIT_DONE


def main() -> None:
    """Run the program on the arguments of the process, and exit."""
    if not is_complete_for(sys.argv[1:]):
        load_plugins(spell, entry_points(group=PLUGIN_GROUP))
    sys.exit(run(sys.argv[1:]))


def is_complete_for(arguments: Sequence[str]) -> bool:
    """Tell whether the user's part alone can do this: importing the server's takes longer than a cast.

    Lists of commands, completion, and what plugins bring or change (`keys`) need the plugins.
    """
    word = arguments[0] if arguments else ""
    return word in spell.commands and word not in PLUGIN_CHANGES
