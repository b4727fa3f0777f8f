"""`python -m bench`: measure every row, or the ones named, and write bench/results and docs/performance.md."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import accepts, broker, cold_load, end_to_end, executor, growth, in_process, memory, round_trip, settle
from bench.cores import TooFewCoresError, two_cores
from bench.generator import LoadError
from bench.machine import machine, program
from bench.ours import ROOT, BenchError
from bench.report import Run, read_runs, replace_between, summary, table, write_run
from bench.rows import Row, measure
from spell.cli import CommandError

ROWS: Final[tuple[Row, ...]] = (
    accepts.ROW,
    end_to_end.ROW,
    broker.ROW,
    executor.ROW,
    in_process.ROW,
    cold_load.ROW,
    settle.ROW,
    round_trip.ROW,
    growth.ROW,
    memory.ROW,
)
# One disturbed round must not be the median.
ROUNDS: Final = 3
RESULTS: Final = ROOT / "bench" / "results"
PAGE: Final = ROOT / "docs" / "performance.md"


def main() -> int:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--note", default="", help="a sentence about this run, kept with the result")
    parser.add_argument("--no-write", action="store_true", help="only print")
    options = parser.parse_args()
    if unknown := [name for name in options.rows if name not in names]:
        parser.error(f"there is no row {', '.join(unknown)}; choose from {', '.join(names)}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    try:
        run = measure_rows(options.rows or names, rounds=options.rounds, note=options.note)
    except (BenchError, CommandError, LoadError, TooFewCoresError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for row in run.rows:
        print(summary(row))
    if not options.no_write:
        file = write_run(RESULTS, run)
        update_page(PAGE, names)
        print(f"written: {file.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}")
    return 0


def measure_rows(names: list[str], *, rounds: int, note: str) -> Run:
    """Measure the rows of `names`, telling on standard output how it goes."""
    cores = two_cores()
    facts = machine()
    return Run(
        started_at=datetime.now(UTC),
        note=note,
        machine=facts,
        program=program(),
        rows=[
            measure(row, cores, rounds=rounds, report=lambda line: print(line, flush=True))
            for row in ROWS
            if row.name in names
        ],
    )


def update_page(page: Path, names: list[str]) -> None:
    """Write the table of the newest results into the page."""
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_between(text, table(read_runs(RESULTS), names)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
