"""docs/cli.md and the program say the same: commands, examples that parse, exit codes, `--json`."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points

import click
import pytest

import spell.exits
from spell import cli
from spell.cli import PLUGIN_GROUP, load_plugins
from spell.cli import spell as program
from tests.api.platform import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "cli.md").read_text()
ROWS = dict(re.findall(r"^\| `(spell [a-z -]+)` \| `(.+)` \|$", DOCUMENT, re.MULTILINE))
# A script for a shell, a guest's own bytes: no JSON of ours.
WITHOUT_JSON = {"spell completion", "spell casts log"}
USERS = ("Write a spell", "Cast", "Account", "This program")


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> None:
    load_plugins(program, entry_points(group=PLUGIN_GROUP))


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for part, inner in command.commands.items():
            yield from leaves(inner, f"{name} {part}")
    else:
        yield name, command


def test_every_command_is_documented_and_every_documented_one_is_there() -> None:
    assert {name for name, _ in leaves(program, "spell")} == set(ROWS)


def test_every_example_is_one_the_program_takes() -> None:
    found = dict(leaves(program, "spell"))
    for name, example in ROWS.items():
        words = shlex.split(re.split(r" [<>|] ", example)[0])
        assert " ".join(words).startswith(name), example
        arguments = words[len(name.split()) :]
        with found[name].make_context(name, arguments) as context:
            assert context.params is not None


def test_every_command_says_what_it_does_and_explains_its_options() -> None:
    for name, command in leaves(program, "spell"):
        assert command.help, name
        silent = [
            option.name
            for option in command.params
            if isinstance(option, click.Option) and not option.help and not option.show_default
        ]
        assert silent == [], name


def test_json_is_everywhere() -> None:
    for panel in USERS:
        for group in cli.PANELS[panel]:
            for name, command in leaves(program.commands[group], f"spell {group}"):
                has = any("--json" in option.opts for option in command.params)
                assert has != (name in WITHOUT_JSON), name


def test_every_command_has_its_place_in_the_overview() -> None:
    shown = {name for names in cli.PANELS.values() for name in names}
    assert set(program.commands) == shown


@pytest.mark.parametrize(("command", "imported"), [("cast", "False"), ("budgets", "False"), ("keys", "True")])
def test_what_asks_a_platform_does_not_import_the_server(command: str, imported: str) -> None:
    """The server's libraries take longer to import than a cast takes; only what a plugin brings or changes has them."""
    tell = "atexit.register(lambda: print('psycopg' in sys.modules))"
    say = f"import atexit, sys; {tell}; from spell.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", say, command, "-h"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == imported


def test_exit_codes_are_those_of_the_document_and_of_the_docstring() -> None:
    codes = {value for name, value in vars(spell.exits).items() if name.startswith("EXIT_")}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", DOCUMENT, re.MULTILINE)} == codes
    assert cli.__doc__ is not None
    assert {int(code) for code in re.findall(r"(?:^|· )(\d+) ", cli.__doc__, re.MULTILINE)} == codes
