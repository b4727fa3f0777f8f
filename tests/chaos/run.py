"""A run: load and faults for a while, then everything is made good, and what was seen and left is judged."""

import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.chaos import report
from tests.chaos.arena import Arena
from tests.chaos.callers import Callers
from tests.chaos.checker import Ending, check
from tests.chaos.nemesis import Fault, one_round
from tests.chaos.violation import Violation

PAUSE_SECONDS = (0.2, 2.5)
# Longer than what the checker allows, so that it says how late a late run was.
END_SECONDS_MAX = 90.0
EVENT_CHARACTERS_SHOWN = 80


def torment(
    arena: Arena,
    callers: Callers,
    rng: Random,
    *,
    seconds: float,
    first: Sequence[Fault] = (),
    again: Sequence[Fault] = (),
    pause_seconds: tuple[float, float] = PAUSE_SECONDS,
) -> None:
    """Do the faults of `first`, then those of `again`, or all there are, in orders of the seed's until time is over."""
    until = time.monotonic() + seconds
    for fault in first:
        fault(arena, callers, rng)
        arena.supervise()
        time.sleep(rng.uniform(*pause_seconds))
    faults: list[Fault] = []
    while time.monotonic() < until:
        faults = faults or (rng.sample(again, k=len(again)) if again else one_round(rng))
        faults.pop(0)(arena, callers, rng)
        arena.supervise()
        time.sleep(min(rng.uniform(*pause_seconds), max(0.0, until - time.monotonic())))


def judge(arena: Arena, seed: str, healed_at: float) -> tuple[list[Violation], str]:
    """Wait for the end of every cast, check everything, and return what is wrong with the report of the run."""
    ended_at = arena.wait_for_the_end(END_SECONDS_MAX)
    arena.stop_sampling()
    ending = Ending(healed_at=healed_at, ended_at=ended_at)
    state = arena.final_state()
    violations = check(arena.history, state, ending)
    file = _keep(arena, seed)
    told = report.text(seed, arena.history, state, ending, violations, file)
    return violations, f"{told}\nlogged as errors: {_logged_errors(arena.folder)}"


def _keep(arena: Arena, seed: str) -> Path:
    """Keep the history and the logs of the processes where the next runs of tests leave them alone."""
    folder = Path(tempfile.gettempdir()) / f"spell-chaos-{seed}"
    folder.mkdir(exist_ok=True)
    for log in arena.folder.glob("*.log"):
        shutil.copy(log, folder)
    file = folder / "history.jsonl"
    arena.history.save(file)
    return file


def _logged_errors(folder: Path) -> dict[str, int]:
    """Return what the processes logged as errors, and tracebacks beside the log: nobody foresaw them."""
    found: Counter[str] = Counter()
    for log in folder.glob("*.log"):
        for line in log.read_text("utf-8", "replace").splitlines():
            if '"level":"error"' in line or '"level":"critical"' in line:
                said = msgspec.json.decode(line, type=dict[str, Any])
                text = str(said.get("event") or said.get("message"))[:EVENT_CHARACTERS_SHOWN]
                found[f"{log.stem}: {re.sub('[0-9a-f-]*[0-9][0-9a-f-]*', 'N', text)}"] += 1
            elif line.startswith("Traceback"):
                found[f"{log.stem}: a traceback beside the log"] += 1
    return dict(found.most_common())
