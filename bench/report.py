"""Writes what a run measured: a JSON file with every sample, and the table in docs/performance.md.

The table shows, for each row, the newest result file that has it; so a run of one row leaves the others as they were.
"""

import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from bench.machine import Machine, Program
from bench.rows import RowResult, Sample, digits

BEGIN: Final = "<!-- measured: written by `make bench`, do not edit -->"
END: Final = "<!-- end of measured -->"
_REVISION_CHARACTERS: Final = 10
_SMALL_RATIO: Final = 0.1


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the benchmarks, as kept in bench/results."""

    started_at: datetime
    note: str = ""
    """What the reader must know about this run, in the words of whoever made it."""
    machine: Machine
    program: Program
    rows: list[RowResult]


def write_run(folder: Path, run: Run) -> Path:
    """Write `run` into `folder` and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{run.started_at:%Y-%m-%dT%H%M%S}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(run)) + b"\n")
    return file


def read_runs(folder: Path) -> list[Run]:
    """Return every run kept in `folder`, the newest last."""
    decode = msgspec.json.Decoder(Run).decode
    return [decode(file.read_bytes()) for file in sorted(folder.glob("*.json"))]


def newest_rows(runs: Iterable[Run]) -> dict[str, tuple[Run, RowResult]]:
    """Return for each row the newest run that has it; `runs` has the newest last."""
    return {row.name: (run, row) for run in runs for row in run.rows}


def table(runs: Iterable[Run], names: Sequence[str]) -> str:
    """Return the Markdown between the markers: the rows of `names`, in this order, as far as they were measured."""
    measured = newest_rows(runs)
    shown = [measured[name] for name in names if name in measured]
    lines = [
        "| what | ours | against | peer | ratio (rounds) | reach | measured |",
        "|---|---|---|---|---|---|---|",
        *(_line(run, row) for run, row in shown),
    ]
    machines = {_machine(run) for run, _ in shown}
    return "\n".join([*lines, "", *sorted(machines)])


def replace_between(text: str, content: str) -> str:
    """Return `text` with `content` between the markers. Raises ValueError when they are not there once each."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        message = f"put the lines {BEGIN!r} and {END!r} where the table belongs, once each"
        raise ValueError(message)
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def summary(row: RowResult) -> str:
    """Return one line for the terminal."""
    return (
        f"{row.name}: ours {_rate(row.ours, row.unit)}, peer {_rate(row.peer, row.unit)}, "
        f"ratio {_figure(row.ratio)} ({_spread(row.ratios)}), to reach {_figure(row.target)}"
    )


def _line(run: Run, row: RowResult) -> str:
    reach = f"{_figure(row.target)} {'✓' if row.ratio >= row.target else '✗'}"
    revision = run.program.revision[:_REVISION_CHARACTERS] + ("+" if run.program.changed_since else "")
    cells = (
        *(row.what, _rate(row.ours, row.unit), row.against, _rate(row.peer, row.unit)),
        f"**{_figure(row.ratio)}** ({_spread(row.ratios)})",
        *(reach, f"{run.started_at:%Y-%m-%d} at `{revision}`"),
    )
    return f"| {' | '.join(cells)} |"


def _rate(samples: Sequence[Sample], unit: str) -> str:
    rates = [sample.per_second for sample in samples]
    middle, least, most = (digits(rate) for rate in (statistics.median(rates), min(rates), max(rates)))
    return f"{middle}{unit} ({least} to {most})"


def _spread(ratios: Sequence[float]) -> str:
    return ", ".join(_figure(ratio) for ratio in ratios)


def _figure(ratio: float) -> str:
    # Two digits after the point would hide whether a ratio near a twelfth was reached.
    return f"{ratio:.2f}" if ratio >= _SMALL_RATIO else f"{ratio:.4f}"


def _machine(run: Run) -> str:
    machine, program = run.machine, run.program
    note = f" {run.note}" if run.note else ""
    libraries = ", ".join(f"{name} {program.libraries[name]}" for name in ("litestar", "uvicorn", "dramatiq"))
    return (
        f"{run.started_at:%Y-%m-%d}: {machine.processor}, {machine.cores} cores, {machine.memory_gib:g} GiB, "
        f"Linux {machine.kernel}, Python {program.python}, {libraries}; "
        f"load of the machine before the run {machine.load_before:g}.{note}"
    )
