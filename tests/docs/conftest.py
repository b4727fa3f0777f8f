"""One platform for every guide, and a reader's machine: programs, an empty home, nothing set."""

import os
import shlex
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from local.servers import Servers
from local.stripe.fake import FakeStripe
from spell.building.toolchains import rust_compilers
from tests.api.platform import REPOSITORY
from tests.docs.wheel import install_wheel
from tests.servers import TestDatabases, flush_redis, revive
from tests.stack import API_2, CLEAN, PATIENCE_SECONDS, Stack

CACHE = REPOSITORY / ".build"


@pytest.fixture(scope="package")
def platform(
    test_databases: TestDatabases,
    template_database_url: str,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Stack]:
    revive(servers)
    flush_redis(servers.redis_url)
    database_url = test_databases.create(template=template_database_url)
    # As `spell dev` has it.
    stripe = FakeStripe(tmp_path_factory.mktemp("stripe"))
    stripe.start()
    stack = Stack(tmp_path_factory.mktemp("stack"), database_url, servers.redis_url, CLEAN | stripe.settings)
    stripe.webhooks(url=f"{stack.url}/webhooks/stripe")
    try:
        stack.start(*(name for name in stack.names if name != API_2))
        publish(stack)
        yield stack
    finally:
        stack.close()
        stripe.close()
        revive(servers)
        test_databases.drop(database_url)


def publish(stack: Stack) -> None:
    """Publish what `make demo` leaves in the store and samples cast, so that each page can be run alone."""
    module = (REPOSITORY / "spells" / "built" / "text-statistics.wasm").read_bytes()
    headers = {"content-type": "application/wasm", "authorization": f"Bearer {stack.owner_key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False) as client:
        path = "/v1/spells/dev/text-statistics/versions/1.0.0"
        assert client.put(path, content=module).status_code == 201


@pytest.fixture(scope="package")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the PATH: `python` as `pip install spell-platform` makes it, `spell` with all extras, and curl."""
    folder = tmp_path_factory.mktemp("programs")
    python = install_wheel(tmp_path_factory.mktemp("wheel"))
    _program(folder / "python", str(python), "-P")
    # -P: a folder `spell` where a reader happens to stand is not our program.
    _program(folder / "spell", sys.executable, "-P", "-c", "from spell.cli import main; main()")
    if shutil.which("curl") is None:
        _program(folder / "curl", sys.executable, str(REPOSITORY / "tests" / "docs" / "curl.py"))
    if shutil.which("openssl") is None:
        # Samples know `openssl rand -hex 32` alone.
        _program(folder / "openssl", sys.executable, "-c", "import secrets; print(secrets.token_hex(32))")
    return folder


@pytest.fixture
def environment(programs: Path, tmp_path: Path) -> dict[str, str]:
    """What a new user's shell has; compilers keep their caches, or every run would compile the library of Go."""
    home = tmp_path / "home"
    home.mkdir()
    # What curl says of its progress, as long as nobody looks at a terminal.
    (home / ".curlrc").write_text("silent\nshow-error\n")
    compilers = {str(compiler.path.parent) for compiler in rust_compilers()}
    paths = [str(programs), *compilers, "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "HOME": str(home),
        "PATH": ":".join(paths),
        "LANG": "C.UTF-8",
        "ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(CACHE / "zig"),
        "GOCACHE": str(CACHE / "go" / "cache"),
        **{name: os.environ[name] for name in ("RUSTUP_HOME", "SPELL_JAIL") if name in os.environ},
    }


def _program(path: Path, *command: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)
