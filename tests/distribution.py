"""Postgres and Redis as the distribution ships them, for the tests that speak to both: CI on Debian as root.

The servers are the ones the packages `postgresql` and `redis-server` installed, with their data in a folder of ours;
no service of the machine is started or used.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from local.ports import LOOPBACK, new_port
from local.servers import Servers

# Made by Debian's package; postgres refuses to run as root.
_USER: Final = "postgres"
_READY_SECONDS_MAX: Final = 60.0
_POLL_SECONDS: Final = 0.05


class DistributionError(Exception):
    """A server of the distribution is not there or does not start; the text says what to do."""


@contextmanager
def run_distribution_servers(folder: Path, postgres_settings: Mapping[str, str]) -> Generator[Servers]:
    """Run both with their data in `folder`. Raises DistributionError."""
    folder.chmod(0o755)  # for the user that Postgres runs as
    with _postgres(folder / "postgres", postgres_settings) as database_url, _redis(folder / "redis") as redis_url:
        yield Servers(database_url=database_url, redis_url=redis_url, postgres=None, redis=None)


@contextmanager
def _postgres(folder: Path, laid_over: Mapping[str, str]) -> Generator[str]:
    programs = _postgres_programs()
    try:
        user = pwd.getpwnam(_USER)
    except KeyError as error:
        message = f"there is no user {_USER!r}: install the distribution's postgresql"
        raise DistributionError(message) from error
    folder.mkdir()
    os.chown(folder, user.pw_uid, user.pw_gid)
    password, data, port = secrets.token_urlsafe(16), folder / "data", new_port(folder / "port")
    secret = folder / "password"
    secret.write_text(password, encoding="ascii")
    os.chown(secret, user.pw_uid, user.pw_gid)
    made = [f"{programs}/initdb", "-D", str(data), "-U", "spell", f"--pwfile={secret}", "-A", "scram-sha-256"]
    done = subprocess.run(
        [*made, "--encoding=UTF8", "--locale=C.UTF-8"],
        cwd=folder,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        message = f"initdb: {' '.join(done.stderr.split())}"
        raise DistributionError(message)
    settings = {
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": str(folder),
        # Partitions multiply the locks of one transaction, and every test has a pool.
        "max_locks_per_transaction": "256",
        "max_connections": "200",
        "timezone": "UTC",
        **laid_over,
    }
    options = [f"--{key}={value}" for key, value in settings.items()]
    log = folder / "log"
    with (
        log.open("wb") as written,
        subprocess.Popen(
            [f"{programs}/postgres", "-D", str(data), f"--port={port}", *options],
            cwd=folder,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            stdout=written,
            stderr=written,
        ) as server,
    ):
        try:
            url = f"postgresql://spell:{password}@{LOOPBACK}:{port}/postgres"
            _wait(server, log, lambda: psycopg.connect(url, connect_timeout=2).close(), psycopg.OperationalError)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # a fast shutdown: no session is waited for


@contextmanager
def _redis(folder: Path) -> Generator[str]:
    program = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")
    if program is None:
        message = "there is no redis-server in /usr/bin: install the distribution's redis-server"
        raise DistributionError(message)
    folder.mkdir()
    port = new_port(folder / "port")
    settings = ("--bind", LOOPBACK, "--port", str(port), "--save", "", "--maxmemory", "512mb")
    settings += ("--maxmemory-policy", "noeviction")
    url, log = f"redis://{LOOPBACK}:{port}/0", folder / "log"

    def ping() -> None:
        with Redis.from_url(url) as client:
            client.ping()

    with (
        log.open("wb") as written,
        subprocess.Popen([program, *settings], cwd=folder, stdout=written, stderr=written) as server,
    ):
        try:
            _wait(server, log, ping, RedisError)
            yield url
        finally:
            server.kill()


def _postgres_programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        message = "there is no Postgres in /usr/lib/postgresql: install the distribution's postgresql"
        raise DistributionError(message)
    return found[-1].parent


def _wait(server: "subprocess.Popen[bytes]", log: Path, ask: Callable[[], object], trouble: type[Exception]) -> None:
    deadline = time.monotonic() + _READY_SECONDS_MAX
    while True:
        try:
            ask()
        except trouble as error:
            if server.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            message = f"{server.args!r} is not ready: {' '.join(words) or error}"
            raise DistributionError(message) from error
        else:
            return
