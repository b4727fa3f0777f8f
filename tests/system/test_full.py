"""A disk without space under Postgres, a Redis without memory: callers are told to come again, nothing is lost."""

import os
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from errno import ENOSPC
from io import RawIOBase
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest

from local.postgres import Postgres
from local.servers import Servers
from operate.processes import WORKER, WORKER_LARGE
from tests.chaos.arena import Arena, run_arena
from tests.chaos.callers import Callers
from tests.chaos.checker import ACCEPTED, UNAVAILABLE
from tests.chaos.history import Call, now
from tests.chaos.run import judge
from tests.servers import TestDatabases
from tests.stack import until

PRESSURE_SECONDS = 600.0
CALLERS = 10
TIMES = 2
# A cluster with its two databases takes 120 MiB; the rest is taken by the ballast.
DISK_BYTES = 400 * 1024 * 1024
SMALL_POSTGRES = {"min_wal_size": "32MB", "max_wal_size": "64MB", "shared_buffers": "32MB"}
# Of which a Redis with its users and scripts takes 2 MiB and each connection some.
MEMORY_BYTES = 32 * 1024 * 1024
FULL_SECONDS_MAX = 120.0
# What a cast may bring along without lying beside the stream.
INPUT_CHARACTERS = 30_000
ACCOUNTS = 8
BATCH_CASTS = 16
BLOCK = bytes(4096)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A folder on a file system of its own, DISK_BYTES large."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0755", "spell-test", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"a small file system cannot be mounted here ({said.strip()}); root may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_postgres(small_disk: Path) -> Generator[Postgres]:
    postgres = Postgres(small_disk / "postgres", settings=SMALL_POSTGRES)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.kill()


def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path, small_postgres: Postgres, tmp_path: Path) -> None:
    databases = TestDatabases(
        Servers(database_url=small_postgres.url, redis_url="", postgres=small_postgres, redis=None)
    )
    database_url = databases.create_migrated()
    with run_arena(tmp_path, database_url, small_postgres, pressure=PRESSURE_SECONDS) as arena:
        with Callers(arena.stack.urls, arena.accounts, arena.history, "full disk", callers=CALLERS):
            for _ in range(TIMES):
                await_calls(arena, is_accepted, "casts are accepted")
                with arena.fault("full disk"), no_space(small_disk) as fill:
                    await_calls(arena, is_refused, "callers are told to come again", meanwhile=fill)
                if not small_postgres.running:  # it may have given up; a supervisor starts it again
                    arena.start_postgres()
            await_calls(arena, is_accepted, "casts are accepted again")
            healed_at = arena.heal()
        assert_nothing_lost(arena, "full-disk", healed_at)


def test_a_full_redis_is_told_and_loses_nothing(servers: Servers, database_url: str, tmp_path: Path) -> None:
    """Without memory for anything new workers cannot report and apis cannot put: all of it is done later.

    An api takes 5,000 casts on trust before it says 503 (`tests/api/test_admission.py`).
    """
    with run_arena(tmp_path, database_url, servers.postgres, pressure=PRESSURE_SECONDS) as arena:
        with Callers(arena.stack.urls, arena.accounts, arena.history, "full redis", callers=CALLERS):
            for _ in range(TIMES):
                await_calls(arena, is_accepted, "casts are accepted")
                with arena.fault("full redis"), no_memory(arena):
                    await_calls(arena, is_accepted, "casts are accepted on trust, as from a Redis that is silent")
            await_calls(arena, is_accepted, "casts are accepted again")
            healed_at = arena.heal()
        assert_nothing_lost(arena, "full-redis", healed_at)


def test_casts_that_nobody_runs_never_fill_redis(servers: Servers, database_url: str, tmp_path: Path) -> None:
    """A full wire is refused while the workers' reports still have room: Redis itself has to refuse nothing."""
    settings = {"maxmemory": str(MEMORY_BYTES)}
    with run_arena(
        tmp_path, database_url, servers.postgres, pressure=PRESSURE_SECONDS, redis_settings=settings
    ) as arena:
        stack = arena.stack
        for name in (WORKER, WORKER_LARGE):
            stack.kill(name)
        refused: set[str] = set()
        body = {"spell": "dev/echo", "input": "x" * INPUT_CHARACTERS}
        casts = 0
        with ExitStack() as clients:
            # An account has 256 places on the wire: one alone cannot fill it.
            callers = [clients.enter_context(stack.client(stack.account())) for _ in range(ACCOUNTS)]
            while not refused and casts * INPUT_CHARACTERS < MEMORY_BYTES:
                answer = callers[casts // BATCH_CASTS % ACCOUNTS].post(
                    "/v1/casts/batch", json={"casts": [body] * BATCH_CASTS}
                )
                casts += BATCH_CASTS
                assert answer.status_code == 200, answer.text
                results = answer.json()["results"]
                refused |= {f"{one['status']} {one['error']['error']}" for one in results if one["status"] != 202}
        assert refused == {"503 queue_full"}
        stack.start()
        stack.settle_all(FULL_SECONDS_MAX)
        with stack.redis() as redis:
            assert "errorstat_OOM" not in redis.info("errorstats")
            assert redis.info("memory")["used_memory_peak"] <= MEMORY_BYTES
        assert stack.broken_books() == {}


def assert_nothing_lost(arena: Arena, name: str, healed_at: float) -> None:
    violations, report = judge(arena, f"{name}-{Random().getrandbits(32):08x}", healed_at)
    print(report)  # noqa: T201 shown when the test fails
    assert not violations, f"{len(violations)} violations; the report stands above"


def is_accepted(call: Call) -> bool:
    return call.status in ACCEPTED and bool(call.wanted) and bool(call.accepted_ids)


def is_refused(call: Call) -> bool:
    """Tell of a request for casts that was answered 503, itself or, in a batch, for its casts."""
    told = [call.status, *(one.status for one in call.seen)]
    return bool(call.wanted) and UNAVAILABLE in told


def await_calls(
    arena: Arena, wanted: Callable[[Call], bool], what: str, *, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Return when ten requests sent from now on have been answered so."""
    began_at = now()

    def enough() -> bool:
        meanwhile()
        calls = [one for one in list(arena.history.events) if isinstance(one, Call) and one.sent_at >= began_at]
        return sum(wanted(call) for call in calls) >= 10

    until(enough, what, FULL_SECONDS_MAX)


@contextmanager
def no_space(folder: Path) -> Generator[Callable[[], None]]:
    """Take all the space of the file system; call what is yielded to take again what came free."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:

        def fill() -> None:
            free = os.statvfs(folder)
            size = free.f_bavail * free.f_frsize
            with suppress(OSError):
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, max(1, size))
            with pytest.raises(OSError, match=os.strerror(ENOSPC)):
                write_on(file)

        try:
            fill()
            yield fill
        finally:
            ballast.unlink()


def write_on(file: RawIOBase) -> NoReturn:
    while True:
        file.write(BLOCK)


@contextmanager
def no_memory(arena: Arena) -> Generator[None]:
    """Let Redis have less memory than it uses."""
    with arena.stack.redis() as redis:
        before = redis.config_get("maxmemory")["maxmemory"]
        redis.config_set("maxmemory", 1)
        try:
            yield
            time.sleep(1.0)  # reports pile up in the workers meanwhile
        finally:
            redis.config_set("maxmemory", before)
