"""`spell dev` and `spell demo` as a user starts, uses and ends them: as programs of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.ports import new_port
from operate.dev_environment import environments_of
from tests.stack import until

SPELL = Path(sys.executable).with_name("spell")
START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 40.0
# Nothing of the test run's own settings may reach what is started here.
CLEAN = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "SPELL_JAIL"}}
SECRETS_OF_OTHERS = {
    *("DATABASE_URL", "ENGINE_DATABASE_URL", "MIGRATIONS_DATABASE_URL", "ADMIN_SECRET"),
    *("ARTIFACT_SIGNING_KEY", "RECEIPT_SIGNING_KEY", "CAST_TOKEN_KEY", "STRIPE_SECRET_KEY"),
}


class Dev:
    """A running `spell dev --json`."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, ready: dict[str, Any]) -> None:
        self.process = process
        self.folder = folder
        self.ready = ready
        self.http = httpx.Client(
            base_url=ready["url"],
            headers={"Authorization": f"Bearer {ready['api_key']}"},
            timeout=30,
            trust_env=False,
        )

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS_MAX)


@contextmanager
def dev(folder: Path, environ: Mapping[str, str] | None = None) -> Generator[Dev]:
    folder.mkdir(exist_ok=True)
    port = new_port(folder / "test-port")
    with (folder / "stderr").open("a") as errors:
        process = subprocess.Popen(
            [SPELL, "dev", "--data-dir", folder, "--port", str(port), "--json"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**CLEAN, **(environ or {})},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "stderr").read_text()
        running = Dev(process, folder, json.loads(line))
        with running.http:
            yield running
    finally:
        process.kill()
        process.communicate()
        until(lambda: processes_of(folder) == {}, "everything has ended with its supervisor", STOP_SECONDS_MAX)


def processes_of(folder: Path) -> dict[int, dict[str, str]]:
    """Return the environments of the processes that have to do with the folder, keepers and servers included."""
    found: dict[int, dict[str, str]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if os.fsencode(folder) in command + environ and int(entry.name) != os.getpid():
            pairs = (pair.partition("=") for pair in os.fsdecode(environ).split("\0"))
            found[int(entry.name)] = {name: value for name, _, value in pairs}
    return found


def program(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def workers_of(folder: Path) -> dict[int, dict[str, str]]:
    """Return the workers, not their keepers."""
    return {
        process: environ
        for process, environ in processes_of(folder).items()
        if "-m workers.cast" in program(process) and "keeper.py" not in program(process)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that goes through all tests of this file, in order."""
    return tmp_path_factory.mktemp("dev")


@pytest.fixture(scope="module")
def first_ready(folder: Path) -> dict[str, Any]:
    """What the first start printed, after everything that is asked of one start was checked."""
    with dev(folder) as running:
        check_first_start(running)
        assert running.end(signal.SIGTERM) == 0
        assert processes_of(folder) == {}
        return running.ready


def check_first_start(running: Dev) -> None:
    ready = running.ready
    assert set(ready) == {
        *("url", "api_key", "free_api_key", "session_token", "admin_secret"),
        *("database_url", "redis_url", "stripe_url", "mail_url"),
    }
    assert running.http.get("/readyz").status_code == 200
    admin = {"X-Admin-Secret": ready["admin_secret"]}
    assert running.http.get("/admin/ledger/trial-balance", headers=admin).json()["sum_micros"] == 0
    free = {"Authorization": f"Bearer {ready['free_api_key']}"}
    assert running.http.get("/v1/casts", headers=free).status_code == 200
    signed_in = {"Authorization": f"Bearer {ready['session_token']}"}
    assert running.http.get("/auth/me", headers=signed_in).json()["handle"] == "dev"
    with stripe_of(running) as stripe:
        made = stripe.post("/v1/customers", data={"name": "of the first start"})
    assert (made.status_code, made.json()["livemode"]) == (200, False)
    assert environments_of(running.folder, {})["api"]["STRIPE_API_BASE"] == ready["stripe_url"]
    password = (running.folder / "postgres" / "password").read_text(encoding="ascii").strip()
    by_socket = environments_of(running.folder, {})["api"]["DATABASE_URL"]
    assert (password in by_socket, f"host={running.folder}/postgres" in by_socket) == (True, True)
    named = [environ["DATABASE_URL"] for environ in processes_of(running.folder).values() if "DATABASE_URL" in environ]
    assert (set(named), len(named) >= 4) == ({by_socket}, True), "api, scheduler, ledger and courier"
    assert ready["database_url"].startswith(f"postgresql://spell:{password}@127.0.0.1:"), "any program can use it"
    workers = workers_of(running.folder)
    assert len(workers) == 2
    for environ in workers.values():
        assert environ.keys() & SECRETS_OF_OTHERS == set()
        assert ready["redis_url"] not in environ.values()
        assert not any(password in value for value in environ.values())
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(workers_of(running.folder).keys() - workers.keys()) == 1, "the worker is started again")
    assert "was ended by SIGKILL; it starts again" in (running.folder / "stderr").read_text()
    os.kill(int((running.folder / "redis" / "redis.pid").read_text()), signal.SIGKILL)
    until(lambda: "Redis has ended" in (running.folder / "stderr").read_text(), "the loss of Redis is noticed")
    until(lambda: has_workers(running), "the workers are back on the new Redis, under their own users")


def stripe_of(running: Dev) -> httpx.Client:
    """Return a client with the key that the platform bills with."""
    key = (running.folder / "stripe" / "secret-key").read_text()
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=running.ready["stripe_url"], headers=headers, trust_env=False)


def has_workers(running: Dev) -> bool:
    answer = running.http.get("/readyz")
    return answer.status_code == 200 and all(answer.json()["workers"].values())


def test_secrets_are_the_owners_alone(folder: Path, first_ready: dict[str, Any]) -> None:
    open_to_others = [path for path in (folder / "secrets.json", folder / "logs") if path.stat().st_mode & 0o077]
    assert open_to_others == []
    logs = "".join(log.read_text() for log in (folder / "logs").iterdir())
    kept = json.loads((folder / "secrets.json").read_text())
    assert first_ready["api_key"] in kept.values()
    assert [name for name, secret in kept.items() if secret in logs] == []


def test_the_next_start_goes_on_and_a_killed_one_takes_everything_along(
    folder: Path, first_ready: dict[str, Any]
) -> None:
    with dev(folder, {"ADMIN_SECRET": "an-operators-own-secret-0123456789"}) as running:
        assert running.ready["api_key"] == first_ready["api_key"]
        assert running.ready["free_api_key"] == first_ready["free_api_key"]
        assert running.ready["admin_secret"] == "an-operators-own-secret-0123456789"
        assert running.http.get("/v1/casts").status_code == 200
        with stripe_of(running) as stripe:
            customers = stripe.get("/v1/customers").json()["data"]
        assert [each["name"] for each in customers] == ["of the first start"]
        refused = subprocess.run(
            [SPELL, "dev", "--data-dir", folder.with_name("other"), "--port", running.ready["url"].rpartition(":")[2]],
            capture_output=True,
            text=True,
            env=CLEAN,
            timeout=START_SECONDS_MAX,
            check=False,
        )
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert "is taken by another program" in refused.stderr
        running.end(signal.SIGKILL)


def test_a_wrong_setting_is_one_line_and_nothing_stays_behind(folder: Path, first_ready: dict[str, Any]) -> None:
    del first_ready
    refused = subprocess.run(
        [SPELL, "dev", "--data-dir", folder, "--port", str(new_port(folder / "test-port"))],
        capture_output=True,
        text=True,
        env={**CLEAN, "PRICE_PER_RUN_MICROS": "cheap"},
        timeout=START_SECONDS_MAX,
        check=False,
    )
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: PRICE_PER_RUN_MICROS")
    assert processes_of(folder) == {}


@pytest.mark.parametrize("time", ["first", "second"])
def test_the_demo_shows_everything_and_ends_without_a_terminal(folder: Path, time: str) -> None:
    done = subprocess.run(
        [SPELL, "demo", "--data-dir", folder / "demo", "--port", str(new_port(folder / "test-port"))],
        capture_output=True,
        text=True,
        env=CLEAN,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    shown = " ".join(done.stdout.split())
    assert shown.count("published") >= (6 if time == "first" else 0)
    for expected in (
        "329 words",
        "a picture of 256 x 192",
        "1,000 casts held for, run, settled and billed",
        "402 Payment Required",
        '"error": "budget_exceeded"',
        "cast 9 times; the next cast is refused",
        "All credits minus all debits: 0 micros",
    ):
        assert expected in shown
    assert "Traceback" not in done.stdout
    assert (folder / "demo" / "thumbnail.png").read_bytes().startswith(b"\x89PNG")
    assert processes_of(folder / "demo") == {}
