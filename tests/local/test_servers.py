"""The embedded pair as a user of `spell dev` meets it: starting, going on, being killed, refusing."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis as Client
from redis.exceptions import AuthenticationError

from local.folder import LocalServerError
from local.servers import run_servers

SUPERVISOR = Path(__file__).with_name("supervisor.py")


@contextmanager
def _supervisor(folder: Path) -> Generator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    process = subprocess.Popen([sys.executable, str(SUPERVISOR), str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _remember(database_url: str, word: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS remembered (word text)")
        connection.execute("INSERT INTO remembered VALUES (%s)", [word])


def _remembered(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM remembered ORDER BY word")]


def _is_server(process: int, program: str) -> bool:
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="ascii").strip() == program
    except (FileNotFoundError, ProcessLookupError):
        return False


def _parent(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    (parent,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:")]
    assert parent > 1
    return parent


def _surroundings(folder: Path) -> list[object]:
    above = [(str(parent), parent.stat().st_mode, parent.stat().st_uid) for parent in folder.parents]
    users = [Path(name).read_bytes() for name in ("/etc/passwd", "/etc/group") if Path(name).exists()]
    return [above, users, sorted(folder.parent.iterdir())]


def test_a_second_start_goes_on_with_the_data_under_the_same_urls(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with run_servers(folder) as first:
        _remember(first.database_url, "first")
        with Client.from_url(first.redis_url) as client:
            assert client.ping()
    with run_servers(folder) as second:
        assert (second.database_url, second.redis_url) == (first.database_url, first.redis_url)
        assert _remembered(second.database_url) == ["first"]


def test_servers_are_what_a_deployment_would_have(tmp_path: Path) -> None:
    with run_servers(tmp_path) as servers:
        with psycopg.connect(servers.database_url) as connection:
            shown = {
                name: connection.execute("SELECT current_setting(%s)", [name]).fetchone()
                for name in ("server_version_num", "fsync", "synchronous_commit", "server_encoding", "timezone")
            }
        with Client.from_url(servers.redis_url, decode_responses=True) as client:
            redis = {name: client.config_get(name)[name] for name in ("maxmemory-policy", "save", "appendonly")}
            maxmemory_bytes = int(client.config_get("maxmemory")["maxmemory"])
            version = client.info("server")["redis_version"]
    assert int(shown.pop("server_version_num")[0]) // 10_000 == 18
    assert {name: value for name, (value,) in shown.items()} == {
        "fsync": "on",
        "synchronous_commit": "on",
        "server_encoding": "UTF8",
        "timezone": "UTC",
    }
    assert redis == {"maxmemory-policy": "noeviction", "save": "", "appendonly": "no"}
    assert maxmemory_bytes > 0
    assert version.startswith("6.2.")


def test_nobody_gets_in_without_the_password(tmp_path: Path) -> None:
    with run_servers(tmp_path) as servers:
        assert servers.postgres is not None
        assert servers.redis is not None
        ways = [
            {"host": "127.0.0.1"},
            {"host": "127.0.0.1", "password": "wrong"},
            {"host": str(servers.postgres.socket_folder)},
        ]
        for way in ways:
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(dbname="spell", user="spell", port=servers.postgres.port, passfile="/nowhere", **way)
        for url in (f"redis://127.0.0.1:{servers.redis.port}", f"unix://{servers.redis.socket_path}"):
            with Client.from_url(url) as client, pytest.raises(AuthenticationError):
                client.ping()
    for secret in [tmp_path / "postgres/password", tmp_path / "redis/password", tmp_path / "redis/redis.conf"]:
        assert secret.stat().st_mode & 0o777 == 0o600


def test_nothing_outside_the_folder_changes(tmp_path: Path) -> None:
    folder = tmp_path / "closed" / "data"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o700)
    before = _surroundings(folder)
    with run_servers(folder) as servers:
        _remember(servers.database_url, "something")
        assert _surroundings(folder) == before
    assert _surroundings(folder) == before


def test_after_the_supervisor_was_killed_the_next_start_works(tmp_path: Path) -> None:
    with _supervisor(tmp_path) as (process, ready):
        _remember(ready["database_url"], "before the kill")
        assert _is_server(ready["postgres"], "postgres")
        assert _is_server(ready["redis"], "redis-server")
        process.send_signal(signal.SIGKILL)
        process.wait()
        # At once: the leftovers may still be about to end.
        with run_servers(tmp_path) as servers:
            assert not _is_server(ready["postgres"], "postgres")
            assert not _is_server(ready["redis"], "redis-server")
            assert servers.database_url == ready["database_url"]
            assert _remembered(servers.database_url) == ["before the kill"]


@pytest.mark.parametrize("victims", ["supervisor", "keepers", "all"])
def test_no_server_outlives_who_watches_over_it(tmp_path: Path, victims: str) -> None:
    with _supervisor(tmp_path) as (process, ready):
        watched = [os.pidfd_open(ready[name]) for name in ("postgres", "redis")]
        keepers = [_parent(ready[name]) for name in ("postgres", "redis")]
        for victim in {"supervisor": [process.pid], "keepers": keepers, "all": [process.pid, *keepers]}[victims]:
            os.kill(victim, signal.SIGKILL)
        for handle in watched:
            assert _ends_within(handle, seconds=20)


def _ends_within(handle: int, *, seconds: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    ended = bool(poll.poll(seconds * 1000))
    os.close(handle)
    return ended


def test_a_second_supervisor_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    with run_servers(tmp_path) as servers:
        program = [sys.executable, str(SUPERVISOR), str(tmp_path)]
        refused = subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)
        assert refused.returncode == 1
        assert refused.stdout.count("\n") == 1
        assert f"in use by process {os.getpid()}" in refused.stdout
        assert "--data-dir" in refused.stdout
        _remember(servers.database_url, "the first is unharmed")


@pytest.mark.parametrize("name", ["a file", "a file/below", "/proc/spell"])
def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("not a folder", encoding="ascii")
    with pytest.raises(LocalServerError) as caught, run_servers(tmp_path / name):
        pass
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "--data-dir" in str(caught.value)


def test_given_urls_are_used_and_nothing_is_started(tmp_path: Path) -> None:
    with run_servers(tmp_path, database_url="postgresql://elsewhere/x", redis_url="redis://elsewhere") as servers:
        assert (servers.database_url, servers.redis_url) == ("postgresql://elsewhere/x", "redis://elsewhere")
        assert (servers.postgres, servers.redis) == (None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["supervisor.lock"]


def test_one_given_url_leaves_the_other_embedded(tmp_path: Path) -> None:
    with run_servers(tmp_path, database_url="postgresql://elsewhere/x") as servers:
        assert servers.postgres is None
        with Client.from_url(servers.redis_url) as client:
            assert client.ping()
    assert not (tmp_path / "postgres").exists()


def test_a_server_that_cannot_start_takes_the_other_down_with_it(tmp_path: Path) -> None:
    (tmp_path / "redis").write_text("in the way", encoding="ascii")
    with pytest.raises(LocalServerError, match="redis cannot be used"), run_servers(tmp_path):
        pass
    (tmp_path / "redis").unlink()
    with run_servers(tmp_path) as servers:
        _remember(servers.database_url, "works after all")
