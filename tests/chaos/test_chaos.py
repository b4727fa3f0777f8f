"""The long run: `make chaos SEED=7 MINUTES=30`."""

import os
import secrets
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from random import Random

import pytest

from local.servers import Servers
from tests.chaos.arena import Arena, run_arena
from tests.chaos.callers import Callers
from tests.chaos.crashes import crash_everywhere
from tests.chaos.crashing import POINTS
from tests.chaos.nemesis import LONG_FAULTS
from tests.chaos.run import judge, torment

MINUTES = float(os.environ.get("MINUTES", "10"))
# A short run has no minute to spare for a Postgres that is away.
MINUTES_OF_LONG_FAULTS = 5
MINUTES_OF_ALL_FIGURES = 10
SECONDS_A_MINUTE = 60
# What a run of ten minutes does at least; on two cores it does more.
FIGURES = {"casts": 10_000, "kill": 30, "restart postgres": 5, "restart redis": 5, "flushall": 20}
# Twenty at each point in a run of ten minutes or more.
CRASHES = max(2, min(20, int(2 * MINUTES)))


def chosen_seed() -> str:
    """Return the seed that was asked for, or a new one."""
    asked = os.environ.get("SEED", "random")
    return secrets.token_hex(4) if asked in {"", "random"} else asked


@pytest.fixture
def arena(servers: Servers, database_url: str, tmp_path: Path) -> Generator[Arena]:
    with run_arena(tmp_path, database_url, servers.postgres, pressure=MINUTES * SECONDS_A_MINUTE) as running:
        yield running


def test_nothing_is_lost_by_a_crash_between_two_side_effects(arena: Arena) -> None:
    seed = chosen_seed()
    print(f"\ncrash points: seed {seed}, {CRASHES} crashes each")  # noqa: T201 the seed is for the person who waits
    with Callers(arena.stack.urls, arena.accounts, arena.history, seed) as callers:
        hits = crash_everywhere(arena, callers, seed, times=CRASHES)
        healed_at = arena.heal()
    violations, report = judge(arena, seed, healed_at)
    print(report)  # noqa: T201 so is the report
    assert hits == dict.fromkeys(POINTS, CRASHES)
    assert not violations, f"{len(violations)} violations with seed {seed}; the report stands above"


def test_nothing_is_lost_doubled_or_overspent(arena: Arena) -> None:
    seed = chosen_seed()
    rng = Random(seed)
    print(f"\nchaos: seed {seed}, {MINUTES:g} minutes; again with: make chaos SEED={seed} MINUTES={MINUTES:g}")  # noqa: T201 the seed is for the person who waits
    with Callers(arena.stack.urls, arena.accounts, arena.history, seed) as callers:
        first = LONG_FAULTS if MINUTES >= MINUTES_OF_LONG_FAULTS else ()
        torment(arena, callers, rng, seconds=MINUTES * SECONDS_A_MINUTE, first=first)
        healed_at = arena.heal()
    violations, report = judge(arena, seed, healed_at)
    print(report)  # noqa: T201 so is the report
    assert not violations, f"{len(violations)} violations with seed {seed}; the report stands above"
    if MINUTES >= MINUTES_OF_ALL_FIGURES:
        assert short_of_figures(arena) == {}


def short_of_figures(arena: Arena) -> dict[str, tuple[int, int]]:
    """Return what a long run has done less of than it must, each with how often and how often at least."""
    done = Counter(fault.name.split(" ")[0] for fault in arena.history.faults)
    named = Counter(fault.name for fault in arena.history.faults)
    done |= {name: named[name] for name in FIGURES if name in named}
    done["casts"] = len({cast_id for call in arena.history.calls for cast_id in call.accepted_ids})
    return {name: (done[name], least) for name, least in FIGURES.items() if done[name] < least}
