"""Procfile and fly.toml name the same processes, and every command starts something that exists."""

import importlib.util
import shlex
from pathlib import Path

import msgspec
import pytest

from operate.commands import COMMANDS

ROOT = Path(__file__).parents[1]


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {
        name: command.strip()
        for name, _, command in (line.partition(":") for line in lines if line and not line.startswith("#"))
    }


class Deploy(msgspec.Struct):
    release_command: str


class Machine(msgspec.Struct):
    processes: list[str]


class Fly(msgspec.Struct):
    deploy: Deploy
    processes: dict[str, str]
    vm: list[Machine]


def fly() -> Fly:
    return msgspec.toml.decode((ROOT / "fly.toml").read_bytes(), type=Fly)


def test_procfile_and_fly_name_the_same_processes_with_the_same_commands() -> None:
    settings = fly()
    assert {"release": settings.deploy.release_command, **settings.processes} == procfile()


def test_every_process_on_fly_has_a_machine() -> None:
    named = [process for machine in fly().vm for process in machine.processes]
    assert sorted(named) == sorted(set(procfile()) - {"release"})


@pytest.mark.parametrize(("name", "command"), procfile().items())
def test_every_command_starts_something_that_exists(name: str, command: str) -> None:
    words = [word for word in shlex.split(command) if word != "env" and "=" not in word]
    if words[0] == "spell":
        assert words[1] in {known.name for known in COMMANDS}, f"{name}: add `{words[1]}` to operate.commands.COMMANDS"
        return
    assert words[:2] == ["python", "-m"], f"{name}: start it with `python -m` or `spell`"
    found = importlib.util.find_spec(words[2])
    assert found is not None, f"{name}: there is no module {words[2]}"
    if found.submodule_search_locations is not None:
        main = importlib.util.find_spec(f"{words[2]}.__main__")
        assert main is not None, f"{name}: give {words[2]} a __main__.py"
