"""What a user gets: the wheel with its base dependencies alone, and a page of samples that run as they are printed."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from importlib.metadata import PathDistribution, distribution
from pathlib import Path
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from standardwebhooks.webhooks import Webhook

from local.servers import Servers
from tests.servers import TestDatabases, flush_redis, revive
from tests.spell.sdk.answers import DONE
from tests.stack import Stack, run_stack
from tests.system.conftest import CLEAN

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "sdk.md"
SERVER_PARTS = ["litestar", "psycopg", "redis", "dramatiq", "wasmtime", "uvicorn", "argon2", "cryptography", "stripe"]


def dependencies(requirements: list[str]) -> Iterator[str]:
    """Yield the names of all that is installed for these requirements, without extras."""
    waiting, seen = [Requirement(text) for text in requirements], set[str]()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in seen or (wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        yield name
        waiting += [Requirement(text) for text in distribution(name).requires or []]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own that has the wheel, what the wheel says it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (metadata,) = site.glob("spell_platform-*.dist-info")
    for name in dependencies(PathDistribution(metadata).requires or []):
        for file in distribution(name).files or []:
            if ".." not in file.parts:  # programs
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    return folder / "venv" / "bin" / "python"


@pytest.fixture(scope="module")
def stack(
    test_databases: TestDatabases,
    template_database_url: str,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Stack]:
    revive(servers)
    flush_redis(servers.redis_url)
    database_url = test_databases.create(template=template_database_url)
    try:
        with run_stack(tmp_path_factory.mktemp("stack"), database_url, servers.redis_url, CLEAN) as running:
            publish(running)
            yield running
    finally:
        revive(servers)
        test_databases.drop(database_url)


def publish(stack: Stack) -> None:
    module = (ROOT / "spells" / "built" / "text-statistics.wasm").read_bytes()
    headers = {"content-type": "application/wasm", "authorization": f"Bearer {stack.owner_key}"}
    with stack.client(stack.account()) as client:
        path = "/v1/spells/dev/text-statistics/versions/1.0.0"
        assert client.put(path, content=module, headers=headers).status_code == 201


def run(python: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script where nothing of this checkout can be imported."""
    return subprocess.run(
        [str(python), "-I", "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def blocks() -> list[tuple[str, str]]:
    """Return each sample of the page with what it prints."""
    fences = [token for token in MarkdownIt().parse(PAGE.read_text()) if token.type == "fence"]
    found: list[tuple[str, str]] = []
    for fence in fences:
        if fence.info == "python":
            found.append((fence.content, ""))
        elif fence.info == "text":
            found[-1] = (found[-1][0], fence.content)
    return found


SAMPLES = [block for block in blocks() if "def receive(" not in block[0]]


def test_the_base_install_has_nothing_of_the_servers_dependencies(python: Path) -> None:
    code = (
        "import importlib.util, pathlib, spell\n"
        f"print([name for name in {SERVER_PARTS} if importlib.util.find_spec(name)])\n"
        "print((pathlib.Path(spell.__file__).parent / 'py.typed').exists())\n"
        "print(all(hasattr(spell, name) for name in spell.__all__))\n"
        "try:\n"
        "    spell.Client(api_key='k', base_url='http://127.0.0.1:1', retries_max=0).cast('a/b')\n"
        "except spell.ConnectionFailed as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = run(python, code)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "True", "True", "ConnectionFailed"]


def test_the_page_has_samples() -> None:
    assert len(SAMPLES) >= 5
    assert all(output for _, output in SAMPLES)


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_a_sample_runs_and_prints_what_the_page_says(stack: Stack, python: Path, number: int) -> None:
    code, output = SAMPLES[number]
    done = run(python, code, SPELL_URL=stack.url, SPELL_API_KEY=stack.account().key)
    assert (done.stderr, done.stdout) == ("", output)


def test_the_webhook_sample_takes_what_is_signed_and_refuses_what_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (code for code, _ in blocks() if "def receive(" in code)
    secret = "whsec_" + "c2VjcmV0" * 5
    monkeypatch.setitem(os.environ, "WEBHOOK_SECRET", secret)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102  # the sample under test
    now = datetime.now(UTC)
    body = msgspec.json.encode(
        {"type": "cast.succeeded", "timestamp": now, "data": {**DONE, "cost": {"held_micros": 2, "cost_micros": 1}}}
    )
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", now, body.decode()),
    }
    assert names["receive"](body, headers) == 200
    assert capsys.readouterr().out == f"cast.succeeded {DONE['id']} 1\n"
    assert names["receive"](body + b" ", headers) == 400
