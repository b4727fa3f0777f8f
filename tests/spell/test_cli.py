import subprocess
import sys
from importlib.metadata import EntryPoint

import click
import pytest
from click.testing import CliRunner

from spell.cli import EXIT_USAGE, PLUGIN_GROUP, SpellGroup, load_plugins, run


def plugin(value: str) -> EntryPoint:
    return EntryPoint(name="test", group=PLUGIN_GROUP, value=value)


def test_a_plugin_adds_its_commands() -> None:
    group = SpellGroup()
    load_plugins(group, [plugin("operate.commands:register")])
    assert "migrate" in group.commands
    assert group.absent_because is None


def test_an_absent_server_part_leaves_a_hint_in_help_and_beside_an_unknown_command() -> None:
    group = SpellGroup(name="spell")
    load_plugins(group, [plugin("a_distribution_nobody_has.commands:register")])
    shown = CliRunner().invoke(group, ["--help"]).output
    assert "a_distribution_nobody_has" in shown
    assert "is not installed" in " ".join(shown.split())
    with pytest.raises(click.UsageError, match=r"No such command 'dev'.*pip install 'spell-platform\[server,local\]'"):
        group.resolve_command(click.Context(group), ["dev"])


def test_a_defect_of_a_plugin_is_not_taken_for_an_absent_one() -> None:
    with pytest.raises(AttributeError):
        load_plugins(SpellGroup(), [plugin("operate.commands:no_such_name")])


def test_usage_errors_exit_with_2_and_say_so_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["no-such-command"]) == EXIT_USAGE
    captured = capfd.readouterr()
    assert "No such command 'no-such-command'" in captured.err
    assert captured.out == ""


def test_help_and_version_exit_with_0(capfd: pytest.CaptureFixture[str]) -> None:
    assert (run(["--help"]), run(["--version"])) == (0, 0)
    assert "spell, version" in capfd.readouterr().out


def test_the_installed_program_has_the_operators_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from spell.cli import main; main()", "-h"], capture_output=True, check=True
    )
    assert b"migrate" in done.stdout
