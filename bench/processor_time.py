"""How much processor time each part of what is measured used: a rate says how fast, this says where it went.

On a machine that others use too it is also the steadier figure of the two.
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# What a command line holds, in the order of asking: a keeper's has that of the process it keeps.
_PARTS: Final = (
    ("workers.executor", "executors"),
    ("workers.cast", "workers"),
    ("workers.ledger", "ledger"),
    ("workers.courier", "courier"),
    ("scheduler", "scheduler"),
    ("redis-server", "redis"),
    ("postgres", "postgres"),
    ("-m api", "api"),
    ("dramatiq", "dramatiq"),
)
_OTHER: Final = "other"
_TICK_SECONDS: Final = 1 / os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the name in brackets: the parent; the time of the process and of its ended children.
_PARENT: Final = 1
_TIMES: Final = slice(11, 15)


def part_of(command: str) -> str:
    """Return which part of the whole a command line runs."""
    return next((part for text, part in _PARTS if text in command), _OTHER)


def processor_seconds() -> dict[str, float]:
    """Return the seconds of user and system time that this process' descendants have used so far, by part.

    A descendant that has ended counts for whoever waited for it: those of this process itself are `ended`.
    """
    stats = {process: stat for process in _processes() if (stat := _stat(process)) is not None}
    seconds: defaultdict[str, float] = defaultdict(float)
    for process, stat in stats.items():
        if _descends(process, stats):
            seconds[part_of(_command(process))] += sum(map(int, stat[_TIMES])) * _TICK_SECONDS
    own = os.times()
    seconds["ended"] = own.children_user + own.children_system
    return seconds


def cpu_us_each(before: Mapping[str, float], after: Mapping[str, float], count: int) -> dict[str, float]:
    """Return the microseconds that each part used for one of `count`, by names for a sample's details."""
    return {f"{part}_cpu_us": (after[part] - before.get(part, 0)) / count * 1e6 for part in sorted(after)}


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(process: int) -> list[str] | None:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # it has just ended
        return None


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _descends(process: int, stats: Mapping[int, list[str]]) -> bool:
    parent = int(stats[process][_PARENT])
    while parent in stats:
        if parent == os.getpid():
            return True
        parent = int(stats[parent][_PARENT])
    return False
