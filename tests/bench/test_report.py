from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bench.machine import Machine, Program
from bench.report import BEGIN, END, Run, read_runs, replace_between, table, write_run
from bench.rows import Cores, Row, RowResult, Sample, measure


def samples(*rates: float) -> list[Sample]:
    return [Sample(per_second=rate, details={}) for rate in rates]


def row(name: str, ours: list[Sample], peer: list[Sample]) -> RowResult:
    return RowResult(name=name, what=f"what {name}", against="it", target=0.6, settings={}, ours=ours, peer=peer)


def run_of(day: int, *rows: RowResult) -> Run:
    return Run(
        started_at=datetime(2026, 11, day, tzinfo=UTC),
        note="The fan was loud.",
        machine=Machine(processor="cpu", cores=2, memory_gib=8.0, kernel="6", load_before=0.5),
        program=Program(
            revision="0123456789abcdef",
            changed_since=[],
            python="3.11",
            libraries={"litestar": "2", "uvicorn": "0", "dramatiq": "2"},
            postgres_settings={},
            redis_settings={},
        ),
        rows=list(rows),
    )


def test_the_ratio_is_the_median_of_rounds_not_the_ratio_of_medians() -> None:
    result = row("a", samples(10, 40, 90), samples(100, 50, 100))
    assert result.ratios == [0.1, 0.8, 0.9]
    assert result.ratio == 0.8


def test_both_sides_are_measured_in_every_round_and_take_turns_in_going_first() -> None:
    order: list[str] = []

    def side(name: str) -> Sample:
        order.append(name)
        return Sample(per_second=len(order), details={"p50_ms": 1.0})

    def ours(_cores: Cores) -> Sample:
        return side("ours")

    def peer(_cores: Cores) -> Sample:
        return side("peer")

    plan = Row(name="r", what="w", against="a", target=1.0, settings={}, ours=ours, peer=peer)
    lines: list[str] = []
    result = measure(plan, (0, 1), rounds=3, report=lines.append)
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert [sample.per_second for sample in result.ours] == [1, 4, 5]
    assert [sample.per_second for sample in result.peer] == [2, 3, 6]
    assert len(lines) == 6


def test_the_table_has_the_newest_result_of_each_row_and_says_what_was_missed(tmp_path: Path) -> None:
    write_run(tmp_path, run_of(2, row("a", samples(1), samples(1)), row("b", samples(5), samples(10))))
    write_run(tmp_path, run_of(3, row("a", samples(70), samples(100))))
    lines = table(read_runs(tmp_path), ["b", "a", "never measured"]).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| what b", "| what a"]
    for line, parts in (
        (lines[2], ("**0.50**", "0.60 ✗", "2026-11-02")),
        (lines[3], ("**0.70**", "0.60 ✓", "2026-11-03")),
    ):
        assert [part for part in parts if part in line] == list(parts)
    assert [line for line in lines if "The fan was loud." in line] == lines[5:]


def test_only_what_is_between_the_markers_changes() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replace_between(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="once each"):
        replace_between("no markers", "new")


def test_a_rate_below_one_is_shown_with_its_digits_and_its_unit() -> None:
    result = msgspec.structs.replace(row("m", samples(0.005194), samples(0.005261)), unit="/MiB")
    assert "| 0.00519/MiB (0.00519 to 0.00519) |" in table([run_of(1, result)], ["m"])
