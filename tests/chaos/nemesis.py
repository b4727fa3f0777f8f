"""What is done to the platform, one function a fault. A seed chooses which, when, and how."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random

import psycopg

from operate.processes import API, LEDGER, SCHEDULER, WORKER, WORKER_LARGE
from tests.chaos.arena import Arena, children_of, chosen_pause
from tests.chaos.callers import Callers
from tests.stack import API_2

# A worker's entries are taken over after 5 s without its heartbeat, a ledger's after 5 s without its answer.
FREEZE_SECONDS = (6.0, 9.0)
REDIS_FREEZE_SECONDS = (0.5, 6.0)
POSTGRES_FREEZE_SECONDS = (0.5, 7.0)
POSTGRES_DOWN_SECONDS = 60.0
BEFORE_BORDER_SECONDS = 4.0

END_SESSIONS = b"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < %(share)s"""

Fault = Callable[[Arena, Callers, Random], None]


def kill(name: str) -> Fault:
    def do(arena: Arena, _callers: Callers, rng: Random) -> None:
        pause = chosen_pause(rng)
        with arena.fault(f"kill {name}", f"for {pause} s"):
            arena.stack.kill(name)
            time.sleep(pause)
            arena.restart(name)

    return do


def kill_all(arena: Arena, _callers: Callers, rng: Random) -> None:
    names = rng.sample(arena.stack.names, k=rng.randint(2, len(arena.stack.names)))
    with arena.fault("kill several", " ".join(names)):
        for name in names:
            arena.stack.kill(name)
        time.sleep(chosen_pause(rng))
        for name in names:
            arena.restart(name)


def kill_executor(arena: Arena, _callers: Callers, rng: Random) -> None:
    sandboxes = arena.sandboxes()
    if not sandboxes:
        return
    chosen = rng.choice(sandboxes)
    with arena.fault("kill executor", str(chosen)), suppress(ProcessLookupError):
        os.kill(chosen, signal.SIGKILL)


def deploy(arena: Arena, _callers: Callers, rng: Random) -> None:
    """SIGTERM and start each process, one after another, as a rolling deploy does."""
    names = rng.sample(arena.stack.names, k=len(arena.stack.names))
    with arena.fault("deploy", " ".join(names)):
        for name in names:
            if arena.stack.children[name].running:
                arena.stack.stop(name)
            arena.restart(name)


def restart_postgres(arena: Arena, _callers: Callers, rng: Random) -> None:
    if arena.postgres is None:
        return
    pause = chosen_pause(rng)
    how = rng.choice((arena.postgres.kill, arena.postgres.stop))
    with arena.fault("restart postgres", f"{how.__name__}, {pause} s"):
        how()
        time.sleep(pause)
        arena.start_postgres()


def postgres_down(arena: Arena, _callers: Callers, _rng: Random) -> None:
    if arena.postgres is None:
        return
    with arena.fault("postgres down", f"{POSTGRES_DOWN_SECONDS} s"):
        arena.postgres.kill()
        time.sleep(POSTGRES_DOWN_SECONDS)
        arena.start_postgres()


def end_sessions(arena: Arena, _callers: Callers, rng: Random) -> None:
    """A network that breaks connections to Postgres, in the middle of whatever they do."""
    times = rng.randint(5, 15)
    with arena.fault("end sessions", f"{times} times"), psycopg.connect(arena.stack.database_url) as connection:
        connection.autocommit = True
        for _ in range(times):
            connection.execute(END_SESSIONS, {"share": rng.random()})
            time.sleep(rng.uniform(0.01, 0.2))
    arena.stack.reconnect()


def restart_redis(arena: Arena, _callers: Callers, rng: Random) -> None:
    pause = chosen_pause(rng)
    how = rng.choice((arena.redis.kill, arena.redis.stop))
    with arena.fault("restart redis", f"{how.__name__}, {pause} s"):
        how()
        time.sleep(pause)
        arena.start_redis()


def empty_redis(arena: Arena, _callers: Callers, _rng: Random) -> None:
    """A Redis that comes back with nothing."""
    with arena.fault("redis without its file"):
        arena.redis.kill()
        arena.append_only_file().unlink(missing_ok=True)
        arena.start_redis()


def flush(arena: Arena, _callers: Callers, _rng: Random) -> None:
    with arena.fault("flushall"), arena.stack.redis() as redis:
        redis.flushall()


def cut_file(arena: Arena, _callers: Callers, rng: Random) -> None:
    """A Redis that comes back with what it knew at some moment of its past."""
    file = arena.append_only_file()
    arena.redis.kill()
    size = file.stat().st_size if file.exists() else 0
    keep = rng.choice((rng.randint(0, size), rng.randint(size - min(size, 4_096), size)))
    with arena.fault("cut the append-only file", f"{keep} of {size} bytes"):
        if size:
            os.truncate(file, keep)
        arena.start_redis()


def freeze(name: str) -> Fault:
    def do(arena: Arena, _callers: Callers, rng: Random) -> None:
        seconds = rng.uniform(*FREEZE_SECONDS)
        with arena.fault(f"freeze {name}", f"{seconds:.1f} s"):
            arena.freeze(arena.process_ids(name), seconds)

    return do


def freeze_redis(arena: Arena, _callers: Callers, rng: Random) -> None:
    seconds = rng.uniform(*REDIS_FREEZE_SECONDS)
    with arena.fault("freeze redis", f"{seconds:.1f} s"):
        arena.freeze([arena.redis.process_id], seconds)


def freeze_postgres(arena: Arena, _callers: Callers, rng: Random) -> None:
    """A Postgres that neither answers nor breaks its connections: every process of it stands still."""
    if arena.postgres is None:
        return
    seconds = rng.uniform(*POSTGRES_FREEZE_SECONDS)
    server = arena.postgres.process_id
    with arena.fault("freeze postgres", f"{seconds:.1f} s"):
        arena.freeze([server, *children_of(server)], seconds)


def move_clock(arena: Arena, callers: Callers, rng: Random) -> None:
    """Move Postgres' clock to a few seconds before the end of a day or month, and let time go over it."""
    callers.pause()
    with arena.fault("move the clock"):
        if rng.random() < 0.5:
            arena.wait_for_the_end(10.0)
        real = datetime.now(UTC)
        shown = real + timedelta(seconds=arena.offset_seconds)
        border = shown.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        # Two months have partitions ahead of them in every run; the month's end is passed once.
        if rng.random() < 0.4 and shown.month == real.month:
            border = (shown.replace(day=1) + timedelta(days=32)).replace(
                day=1, hour=0, minute=0, second=0, microsecond=0
            )
        target = border - timedelta(seconds=BEFORE_BORDER_SECONDS)
        if target > shown:
            arena.move_clock((target - real).total_seconds())
    callers.go_on()


FAULTS: dict[str, tuple[int, Fault]] = {
    "kill worker": (6, kill(WORKER)),
    "kill executor": (6, kill_executor),
    "kill ledger": (5, kill(LEDGER)),
    "kill api": (3, kill(API)),
    "kill api-2": (3, kill(API_2)),
    "kill scheduler": (2, kill(SCHEDULER)),
    "kill worker-large": (1, kill(WORKER_LARGE)),
    "kill several": (2, kill_all),
    "deploy": (1, deploy),
    "restart postgres": (3, restart_postgres),
    "end sessions": (3, end_sessions),
    "restart redis": (3, restart_redis),
    "redis without its file": (1, empty_redis),
    "flushall": (10, flush),
    "cut the append-only file": (3, cut_file),
    "freeze worker": (1, freeze(WORKER)),
    "freeze ledger": (1, freeze(LEDGER)),
    "freeze scheduler": (1, freeze(SCHEDULER)),
    f"freeze {API_2}": (1, freeze(API_2)),
    "freeze redis": (1, freeze_redis),
    "freeze postgres": (1, freeze_postgres),
    "move the clock": (2, move_clock),
}
"""Each fault with how often it stands in one round."""
# Before the faults, so that a long one ends well before a run does.
LONG_FAULTS: tuple[Fault, ...] = (postgres_down,)


def one_round(rng: Random) -> list[Fault]:
    """Return every fault as often as the table says, in an order of the seed's."""
    faults = [fault for times, fault in FAULTS.values() for _ in range(times)]
    rng.shuffle(faults)
    return faults
