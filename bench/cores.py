"""Which core a process may use. A child inherits what its starter may use at that moment, and so do its children."""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

CORES_NEEDED: Final = 2


class TooFewCoresError(Exception):
    """There is no core to keep the load generator apart from what is measured."""


def two_cores() -> tuple[int, int]:
    """Return two cores this program may use. Raises TooFewCoresError."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < CORES_NEEDED:
        message = f"the benchmarks need {CORES_NEEDED} cores and may use {len(cores)}: run them on a larger machine"
        raise TooFewCoresError(message)
    return cores[0], cores[1]


@contextmanager
def starting_on(cores: Iterable[int]) -> Generator[None]:
    """While the context is open, what this thread starts runs on `cores`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
