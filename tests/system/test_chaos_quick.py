"""Half a minute of chaos with a seed of its own each time: what `make chaos` does for as long as one likes."""

import secrets
from collections.abc import Generator
from pathlib import Path
from random import Random

import pytest

from local.servers import Servers
from operate.processes import API, LEDGER, SCHEDULER, WORKER
from tests.chaos import nemesis
from tests.chaos.arena import Arena, run_arena
from tests.chaos.callers import Callers
from tests.chaos.crashes import crash_each
from tests.chaos.run import judge, torment

PRESSURE_SECONDS = 12.0
CALLERS = 10
PAUSE_SECONDS = (0.1, 0.9)
# One of each kind that takes a moment; the seed brings them into an order.
FAULTS = (
    nemesis.kill(WORKER),
    nemesis.kill(LEDGER),
    nemesis.kill(API),
    nemesis.kill(SCHEDULER),
    nemesis.kill_executor,
    nemesis.flush,
    nemesis.cut_file,
    nemesis.restart_redis,
    nemesis.restart_postgres,
    nemesis.end_sessions,
    nemesis.move_clock,
)
# A window of each process between two side effects; the others are for the long run.
CRASHES = (
    "api, committed and not answered",
    "worker, run and not reported",
    "ledger, committed and next not put",
)


@pytest.fixture
def arena(servers: Servers, database_url: str, tmp_path: Path) -> Generator[Arena]:
    with run_arena(tmp_path, database_url, servers.postgres, pressure=PRESSURE_SECONDS) as running:
        yield running


def test_nothing_is_lost_doubled_or_overspent(arena: Arena) -> None:
    seed = secrets.token_hex(4)
    rng = Random(seed)
    print(f"seed {seed}")  # noqa: T201 shown when the test fails
    with Callers(arena.stack.urls, arena.accounts, arena.history, seed, callers=CALLERS) as callers:
        faults = rng.sample(FAULTS, k=len(FAULTS))
        torment(arena, callers, rng, seconds=0, first=faults, pause_seconds=PAUSE_SECONDS)
        hits = crash_each(arena, seed, CRASHES, times=2)
        healed_at = arena.heal()
    violations, report = judge(arena, seed, healed_at)
    print(report)  # noqa: T201 so is the report
    assert hits == dict.fromkeys(CRASHES, 2)
    assert not violations, f"{len(violations)} violations with seed {seed}; the report stands above"
