"""Kills processes at named points, again and again, while callers go on."""

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from operate.processes import SCHEDULER, WORKER
from operate.supervisor import Child
from tests.chaos.arena import Arena
from tests.chaos.callers import Callers
from tests.chaos.crashing import ENVIRONMENT_NAME, POINTS

PROGRAM = Path(__file__).with_name("crashing.py")
# A point is passed so often before the process dies there: some work gets done between two crashes.
PASSED_MAX = 6
# From the start of a process to its death at the point; the machine is busy with four of them.
REACHED_SECONDS_MAX = 60.0
# How long casts are made that nobody runs, and by how much they are then overdue: deadline and grace are 17 minutes.
UNRUN_SECONDS = 0.7
OVERDUE_SECONDS = 1_100.0
EXIT_CODE_OF_SIGKILL = 128 + signal.SIGKILL
FLUSH_EVERY_SECONDS = 2.5
EXPIRED = "scheduler, expired and not removed"
# What the scheduler finds missing is missing once in a run, and few callers cancel: no waiting for a sixth time.
SELDOM = frozenset(name for name, point in POINTS.items() if point.process == SCHEDULER) | {
    "api, canceled and nobody told"
}


class PointNotReachedError(Exception):
    """A process lived on: the point is not where it is thought to be, or nothing leads there."""


def crash_everywhere(arena: Arena, callers: Callers, seed: str, *, times: int) -> dict[str, int]:
    """Kill at each point so many times, and return how often each was hit. The processes are left as they were."""
    hits = crash_each(arena, seed, [name for name in POINTS if name != EXPIRED], times=times)
    for _ in range(times):
        _crash_while_expiring(arena, callers)
        hits[EXPIRED] = hits.get(EXPIRED, 0) + 1
    return hits


def crash_each(arena: Arena, seed: str, names: Sequence[str], *, times: int) -> dict[str, int]:
    """Kill at each of these points so many times: all processes at once, the points of each one after another."""
    hits: Counter[str] = Counter()
    failures: list[Exception] = []

    def crash_process(process: str, points: Sequence[str]) -> None:
        rng = Random(f"{seed}:{process}")
        try:
            for name in points:
                for _ in range(times):
                    _crash(arena, process, name, rng.randint(1, PASSED_MAX))
                    hits[name] += 1
        except Exception as error:  # noqa: BLE001 it belongs to the test's own thread, which raises it
            failures.append(error)
        finally:
            _disarm(arena, process)

    by_process: dict[str, list[str]] = {}
    for name in names:
        by_process.setdefault(POINTS[name].process, []).append(name)
    threads = [threading.Thread(target=crash_process, args=item) for item in by_process.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return dict(hits)


def _crash(arena: Arena, process: str, name: str, count: int) -> None:
    count = 1 if name in SELDOM else count
    with arena.fault("crash", f"{name}, the {count}. time"):
        arena.stack.kill(process)
        _start_armed(arena, process, f"{name}:{count}")
        _await_death(arena, process, name)


def _await_death(arena: Arena, process: str, name: str) -> None:
    deadline = time.monotonic() + REACHED_SECONDS_MAX
    flush_at = time.monotonic() + FLUSH_EVERY_SECONDS
    while arena.stack.children[process].running:
        if time.monotonic() > deadline:
            raise PointNotReachedError(name)
        if process == SCHEDULER and name != EXPIRED and time.monotonic() > flush_at:
            flush_at = time.monotonic() + FLUSH_EVERY_SECONDS
            with arena.stack.redis() as redis:
                redis.flushall()
        time.sleep(0.02)
    child = arena.stack.children[process]
    if child.exit_code != EXIT_CODE_OF_SIGKILL:
        message = f"{name}: {process} ended with exit code {child.exit_code}: {child.last_words()}"
        raise PointNotReachedError(message)


def _crash_while_expiring(arena: Arena, callers: Callers) -> None:
    """Let casts be accepted that nobody runs, move the clock past their deadline, and kill who expires them."""
    with arena.fault("crash", EXPIRED):
        for process in (WORKER, SCHEDULER):
            arena.stack.kill(process)
        time.sleep(UNRUN_SECONDS)
        callers.pause()
        try:
            arena.move_clock(arena.offset_seconds + OVERDUE_SECONDS)
            _start_armed(arena, SCHEDULER, f"{EXPIRED}:1")
            _await_death(arena, SCHEDULER, EXPIRED)
        finally:
            callers.go_on()
            _disarm(arena, SCHEDULER)
            arena.restart(WORKER)


def _start_armed(arena: Arena, process: str, value: str) -> None:
    plan = arena.stack.children[process].plan
    armed = msgspec.structs.replace(
        plan,
        command=(sys.executable, "-P", str(PROGRAM)),
        environment={**plan.environment, ENVIRONMENT_NAME: value},
    )
    child = Child(armed, arena.folder)
    arena.plans.setdefault(process, plan)
    arena.stack.children[process] = child
    child.start()


def _disarm(arena: Arena, process: str) -> None:
    """Have the process run as ever."""
    arena.stack.kill(process)
    if process in arena.plans:
        arena.stack.children[process] = Child(arena.plans[process], arena.folder)
    arena.restart(process)
