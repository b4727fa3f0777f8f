"""Hosts and the links between them, broken for as long as one likes: `make hosts SEED=7 MINUTES=30`."""

from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

import pytest

from tests.chaos.arena import Arena
from tests.chaos.callers import Callers
from tests.chaos.hosts import HOSTS, OneMachine, run_hosts
from tests.chaos.network import Network, why_not
from tests.chaos.partitions import faults, network_of
from tests.chaos.run import judge, torment
from tests.chaos.test_chaos import MINUTES, SECONDS_A_MINUTE, chosen_seed


@pytest.fixture
def arena(tmp_path: Path) -> Generator[Arena]:
    reason = why_not()
    if reason is not None:
        print(f"\n{reason}: processes are stopped instead")  # noqa: T201 the person who waits must know
    with ExitStack() as stack:
        site = OneMachine() if reason is not None else stack.enter_context(closing(Network(HOSTS)))
        yield stack.enter_context(run_hosts(tmp_path, site, pressure=MINUTES * SECONDS_A_MINUTE))


def test_nothing_is_lost_doubled_or_overspent_between_hosts(arena: Arena) -> None:
    seed = chosen_seed()
    rng = Random(seed)
    print(f"\nhosts: seed {seed}, {MINUTES:g} minutes; again with: make hosts SEED={seed} MINUTES={MINUTES:g}")  # noqa: T201 the seed is for the person who waits
    with Callers(arena.stack.urls, arena.accounts, arena.history, seed) as callers:
        table = faults(network_of(arena))
        rng.shuffle(table)
        torment(arena, callers, rng, seconds=MINUTES * SECONDS_A_MINUTE, first=table, again=table)
        healed_at = arena.heal()
    violations, report = judge(arena, seed, healed_at)
    print(report)  # noqa: T201 so is the report
    assert not violations, f"{len(violations)} violations with seed {seed}; the report stands above"
