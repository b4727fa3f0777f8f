"""The program `spell` as a user has it, against one platform for all tests of this folder."""

import io
import json
import os
import sys
from collections.abc import Callable, Generator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain.model.key_rules import ACCOUNT_SCOPES
from local.servers import Servers
from spell.cli import PLUGIN_GROUP, load_plugins, run
from spell.cli import spell as program
from tests.api.platform import REPOSITORY, Account
from tests.servers import TestDatabases
from tests.stack import Stack, run_fresh_stack

CACHE = REPOSITORY / ".build"
PROGRAM = (sys.executable, "-c", "from spell.cli import main; main()")
# How long a loaded machine may take for what takes a second; reached only when a test fails.
PATIENCE_SECONDS = 120.0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How one command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


Spell = Callable[..., Ended]


@pytest.fixture(scope="package")
def package_stack(
    test_databases: TestDatabases,
    template_database_url: str,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with run_fresh_stack(test_databases, template_database_url, servers, folder) as running:
        yield running


@pytest.fixture
def stack(package_stack: Stack) -> Stack:
    package_stack.start()
    return package_stack


@pytest.fixture
def account(stack: Stack) -> Account:
    """An account of the test's own, never billed, whose key may do everything."""
    made = stack.account()
    scopes = sorted(ACCOUNT_SCOPES)
    stack.rows.execute(
        "UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", {"scopes": scopes, "id": made.key_id}
    )
    return made


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has never used the program, in a folder of their own; compilers keep their caches."""
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(("SPELL_", "XDG_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        monkeypatch.setenv(name, str(CACHE / "zig"))
    monkeypatch.setenv("GOCACHE", str(CACHE / "go" / "cache"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def spell(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Spell:
    """Run a command line in a pipe and say how it ended."""
    load_plugins(program, entry_points(group=PLUGIN_GROUP))

    def do(*arguments: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(list(arguments))
        sys.stdout.flush()
        captured = capfdbinary.readouterr()
        return Ended(code=code, out=captured.out.decode("utf-8", "replace"), err=captured.err.decode())

    return do


@pytest.fixture
def user(spell: Spell, stack: Stack, account: Account, monkeypatch: pytest.MonkeyPatch) -> Spell:
    """The same, with the platform and the account's key in the environment."""
    monkeypatch.setenv("SPELL_URL", stack.url)
    monkeypatch.setenv("SPELL_API_KEY", account.key)
    return spell


@pytest.fixture
def dev(spell: Spell, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Spell:
    """The same, as the account `dev`, whose spells the others cast."""
    monkeypatch.setenv("SPELL_URL", stack.url)
    monkeypatch.setenv("SPELL_API_KEY", stack.owner_key)
    return spell
