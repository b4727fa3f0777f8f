"""What the api and the ledger hold in memory after many casts, against after the first ten thousand.

The whole platform, under the load of `end_to_end`; when the last cast is final, the resident memory of the two
processes is added up. The figure is its inverse, so that the ratio is what they held early over what they hold late.
"""

import os
from pathlib import Path
from typing import Final

from bench.end_to_end import ACCOUNTS, CONNECTIONS
from bench.generator import Load, run_load
from bench.ours import BenchError, Ours, running_platform
from bench.rows import Cores, Row, Sample
from domain.model.limits import MIB

# A million take ten minutes for each round; a run may ask for another number.
CASTS: Final = int(os.environ.get("BENCH_MEMORY_CASTS", "1000000"))
CASTS_BEFORE: Final = 10_000
PROCESSES: Final = ("api", "ledger")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def late(cores: Cores) -> Sample:
    return _measured(cores, CASTS)


def early(cores: Cores) -> Sample:
    return _measured(cores, CASTS_BEFORE)


def _measured(cores: Cores, count: int) -> Sample:
    with running_platform(cores, accounts=ACCOUNTS) as platform:
        warmed = platform.warm(cores)
        load = Load(port=platform.port, requests=platform.requests, connections=CONNECTIONS, status=202, count=count)
        run_load(load, cores)
        platform.wait_settled()
        tally = platform.tally()
        resident = {name: _resident_mib(platform, name) for name in PROCESSES}
    if tally.casts != warmed + count or not tally.is_sound:
        message = f"after {warmed + count} casts the books are wrong: {tally}"
        raise BenchError(message)
    return Sample(
        per_second=1 / sum(resident.values()),
        details={"casts": float(count), **{f"{name}_mib": mib for name, mib in resident.items()}},
    )


def _resident_mib(platform: Ours, name: str) -> float:
    child = next(child for child in platform.supervisor.children if child.name == name)
    pages = int(Path(f"/proc/{child.process_id}/statm").read_text(encoding="ascii").split()[1])
    return pages * _PAGE_BYTES / MIB


ROW: Final = Row(
    name="memory",
    what=f"1 / MiB resident in api and ledger after {CASTS:,} casts",
    against=f"the same after {CASTS_BEFORE:,}",
    target=1 / 1.1,
    settings={"casts": CASTS, "casts_before": CASTS_BEFORE, "connections": CONNECTIONS, "accounts": ACCOUNTS},
    ours=late,
    peer=early,
    unit="/MiB",
)
