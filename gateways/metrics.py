"""Prometheus' metrics; every module takes them from here.

PROMETHEUS_MULTIPROC_DIR names a folder that the processes of one kind on one machine share: what one counted outlives
it, and each answers for all of them, so ask one. Without it each process counts for itself, from zero.

The library's own way names files after process ids: every restart leaves one more, and a new process that happens to
get an old id inherits gauges. Here a process holds a slot, by a lock the kernel drops with it, and who takes a free
slot goes on with its counters. The library chooses its kind of value before the first metric is made, which is at
import; so this reads the environment at import, too.
"""

import fcntl
import os
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
    start_http_server,
    values,
)
from prometheus_client import Histogram as PlainHistogram
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

__all__ = ["SHARED_FOLDER", "CollectorRegistry", "Counter", "Gauge", "Histogram", "exposition", "serve"]

# More processes of one kind than any machine has cores; a bound, so that a lost folder is an error and no endless walk.
SLOTS_MAX: Final = 1_024
_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"


class Histogram(PlainHistogram):
    """The library's own, except that it finds the bucket of a value sooner: some are observed with each cast."""

    # Untyped there.
    _sum: Any
    _buckets: list[Any]

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count `amount`; examples of values are not kept."""
        assert exemplar is None, "no page of ours shows one"
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)


def take_slot(folder: Path) -> int:
    """Return the lowest slot no living process holds, and hold it until this process ends.

    Its counters go on where the last holder stopped; its gauges do not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(SLOTS_MAX):
        descriptor = os.open(_lock_file(folder, slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _lock(descriptor):
            _forget_gauges(folder, slot)
            return slot
        os.close(descriptor)
    message = f"all {SLOTS_MAX} slots of {folder} are held: is one folder shared by all machines?"
    raise OSError(message)


def forget_the_dead(folder: Path) -> None:
    """Remove the gauges of processes that have ended: nobody is waiting there, no connection of theirs is in use."""
    for gauges in folder.glob("gauge_live*_*.db"):
        slot = int(gauges.stem.rpartition("_")[2])
        descriptor = os.open(_lock_file(folder, slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _lock(descriptor):
                _forget_gauges(folder, slot)
        finally:
            os.close(descriptor)


def _lock_file(folder: Path, slot: int) -> Path:
    return folder / f"slot-{slot}.lock"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_gauges(folder: Path, slot: int) -> None:
    for gauges in folder.glob(f"gauge_*_{slot}.db"):
        gauges.unlink(missing_ok=True)


class SharedCollector(Collector):
    """Reads what all processes of the folder counted."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists."""
        self._folder: Final = folder

    def collect(self) -> Iterable[Metric]:
        """Return counters and histograms summed over all processes, living and dead, and gauges of the living."""
        forget_the_dead(self._folder)
        collector = MultiProcessCollector(None, str(self._folder))
        return collector.collect()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # untyped


def _join() -> Path | None:
    disable_created_metrics()  # a `_created` series beside each counter doubles the page and tells nothing here
    name = os.environ.get(_VARIABLE)
    if not name:
        return None
    folder = Path(name)
    try:
        slot = take_slot(folder)
    except OSError as error:
        message = f"{_VARIABLE}: {folder} cannot be used ({error}); name a folder this process may write to"
        raise SystemExit(message) from error
    values.ValueClass = values.MultiProcessValue(lambda: slot)  # pyright: ignore[reportUnknownMemberType]  # untyped
    return folder


SHARED_FOLDER: Final = _join()
"""The folder shared with other processes, or None."""


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Return the metrics in Prometheus' text format: those of `registry`, or of all processes of the folder."""
    return generate_latest(_asked(registry))


def serve(port: int) -> None:
    """Answer Prometheus on a port of its own, from a thread."""
    start_http_server(port, registry=_asked(REGISTRY))


def _asked(registry: CollectorRegistry) -> CollectorRegistry:
    if SHARED_FOLDER is None:
        return registry
    shared = CollectorRegistry(auto_describe=False)
    shared.register(SharedCollector(SHARED_FOLDER))
    return shared
