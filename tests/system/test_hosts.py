"""Two apis, three workers, two ledgers and two schedulers on hosts of their own, whose links are cut and healed.

`make hosts` does it for as long as one likes. Where network namespaces are not permitted the same hosts share this
machine's network, and processes are stopped where they are instead.
"""

import secrets
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from operate.processes import API, LEDGER, SCHEDULER, WORKER
from tests.chaos import partitions
from tests.chaos.arena import Arena
from tests.chaos.callers import Callers
from tests.chaos.hosts import HOSTS, POSTGRES, REDIS, OneMachine, run_hosts
from tests.chaos.nemesis import Fault
from tests.chaos.network import Network, why_not
from tests.chaos.run import judge, torment

PRESSURE_SECONDS = 12.0
PAUSE_SECONDS = (0.1, 0.5)
BRIEF_SECONDS = (0.5, 2.5)


def links_cut(network: Network) -> list[Fault]:
    """One cut of each kind; those that end when their effect is seen take a few seconds."""
    return [
        partitions.cut(network, WORKER, REDIS, BRIEF_SECONDS),
        partitions.cut(network, LEDGER, POSTGRES, BRIEF_SECONDS),
        partitions.cut(network, API, REDIS, BRIEF_SECONDS),
        partitions.cut_until_callers_are_told(network),
        partitions.cut_with_a_slot(network),
    ]


def processes_stopped() -> list[Fault]:
    return [
        partitions.kill(API),
        partitions.kill(LEDGER),
        partitions.kill(SCHEDULER),
        partitions.freeze(WORKER),
        partitions.freeze(LEDGER),
    ]


@pytest.fixture
def network() -> Generator[Network]:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"{reason}; test_processes_on_one_machine does the same without links to cut")
    with closing(Network(HOSTS)) as network:
        yield network


def test_hosts_whose_links_are_cut(network: Network, tmp_path: Path) -> None:
    with run_hosts(tmp_path, network, pressure=PRESSURE_SECONDS) as arena:
        assert_nothing_is_lost_doubled_or_overspent(arena, links_cut(network))


def test_processes_on_one_machine(tmp_path: Path) -> None:
    if why_not() is None:
        pytest.skip("hosts can have links here: test_hosts_whose_links_are_cut does it with them")
    with run_hosts(tmp_path, OneMachine(), pressure=PRESSURE_SECONDS) as arena:
        assert_nothing_is_lost_doubled_or_overspent(arena, processes_stopped())


def assert_nothing_is_lost_doubled_or_overspent(arena: Arena, faults: Sequence[Fault]) -> None:
    seed = secrets.token_hex(4)
    rng = Random(seed)
    print(f"seed {seed}")  # noqa: T201 shown when the test fails
    with Callers(arena.stack.urls, arena.accounts, arena.history, seed) as callers:
        torment(arena, callers, rng, seconds=0, first=rng.sample(faults, k=len(faults)), pause_seconds=PAUSE_SECONDS)
        healed_at = arena.heal()
    violations, report = judge(arena, seed, healed_at)
    print(report)  # noqa: T201 so is the report
    assert not violations, f"{len(violations)} violations with seed {seed}; the report stands above"
