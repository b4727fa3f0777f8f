"""Processes that share a folder of metrics: what one counted outlives it, and slots are used again."""

import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from prometheus_client import Histogram as PlainHistogram

from gateways import metrics
from gateways.metrics import SharedCollector, take_slot
from tests.api.platform import REPOSITORY

# Counts what it is told to on standard input, says so, and answers "show" with everything.
PROGRAM = """
import sys
from gateways.metrics import Counter, Gauge, Histogram, exposition
counter = Counter("test_casts_total", "x", ["pool"])
size = Histogram("test_size", "x", buckets=(1, 10))
waiting = Gauge("test_waiting", "x", multiprocess_mode="livesum")
depth = Gauge("test_depth", "x", multiprocess_mode="livemostrecent")
for line in sys.stdin:
    name, _, value = line.strip().partition(" ")
    if name == "show":
        sys.stdout.buffer.write(exposition() + b"end\\n")
        sys.stdout.flush()
        continue
    {"count": counter.labels("default").inc, "size": size.observe, "wait": waiting.set, "depth": depth.set}[name](
        float(value))
    print("done", flush=True)
"""


class Counting:
    """A process of the folder."""

    def __init__(self, folder: Path | None) -> None:
        environment = {} if folder is None else {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
        command = [sys.executable, "-c", PROGRAM]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, line: str) -> None:
        self._send(line)
        assert self._line() == "done\n"

    def show(self) -> dict[str, float]:
        self._send("show")
        found = {}
        while (line := self._line()) != "end\n":
            assert line, "the process ended"
            if match := re.fullmatch(r"(test_\S+) (\S+)\n", line):
                found[match[1]] = float(match[2])
        return found

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


class Machine:
    """Starts processes on one folder and ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Counting] = []

    def start(self) -> Counting:
        self.started.append(Counting(self.folder))
        return self.started[-1]


@pytest.fixture
def machine(tmp_path: Path) -> Generator[Machine]:
    made = Machine(tmp_path / "metrics")
    yield made
    for process in made.started:
        process.close()


CASTS = 'test_casts_total{pool="default"}'


def test_a_killed_process_takes_no_count_with_it(machine: Machine) -> None:
    first, second = machine.start(), machine.start()
    first.tell("count 3")
    first.tell("size 5")
    second.tell("count 4")
    second.tell("size 0.5")
    assert first.show()[CASTS] == second.show()[CASTS] == 7
    first.kill()
    seen = second.show()
    assert (seen[CASTS], seen["test_size_count"], seen["test_size_sum"]) == (7, 2, 5.5)
    assert (seen['test_size_bucket{le="1.0"}'], seen['test_size_bucket{le="10.0"}']) == (1, 2)
    second.kill()
    after_both = machine.start()
    assert after_both.show()[CASTS] == 7
    after_both.tell("count 1")
    assert after_both.show()[CASTS] == 8


def test_a_value_is_counted_in_the_bucket_the_library_would_choose() -> None:
    pages: list[bytes] = []
    for kind in (metrics.Histogram, PlainHistogram):
        registry = metrics.CollectorRegistry()
        histogram = kind("test_seconds", "x", registry=registry, buckets=(0.001, 1, 10))
        for value in (-1, 0, 0.001, 0.0011, 1, 1.5, 10, 10.5):
            histogram.observe(value)
        pages.append(metrics.exposition(registry))
    assert pages[0] == pages[1]
    assert b"test_seconds_count 8.0" in pages[0]


def test_restarts_leave_no_files_behind(machine: Machine) -> None:
    for _ in range(4):
        process = machine.start()
        process.tell("count 1")
        process.kill()
    assert sorted(file.name for file in machine.folder.glob("counter_*.db")) == ["counter_0.db"]
    assert machine.start().show()[CASTS] == 4


def test_gauges_are_those_of_the_living(machine: Machine) -> None:
    first, second = machine.start(), machine.start()
    first.tell("wait 10")
    second.tell("wait 5")
    first.tell("depth 1")
    second.tell("depth 2")
    seen = first.show()
    assert (seen["test_waiting"], seen["test_depth"]) == (15, 2)
    second.kill()
    seen = first.show()
    assert (seen["test_waiting"], seen["test_depth"]) == (10, 1)
    first.kill()
    heir = machine.start()
    heir.tell("count 0")
    assert heir.show()["test_waiting"] == 0


def test_a_process_without_a_folder_counts_for_itself(tmp_path: Path) -> None:
    alone = Counting(None)
    try:
        alone.tell("count 2")
        assert alone.show()[CASTS] == 2
    finally:
        alone.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_said_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    command = [sys.executable, "-c", "import gateways.metrics"]
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(file)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("PROMETHEUS_MULTIPROC_DIR: ")
    assert done.stderr.count("\n") == 1


def test_slots_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SLOTS_MAX", 2)
    assert [take_slot(tmp_path), take_slot(tmp_path)] == [0, 1]
    with pytest.raises(OSError, match="all 2 slots"):
        take_slot(tmp_path)


def test_an_empty_folder_shows_nothing(tmp_path: Path) -> None:
    assert list(SharedCollector(tmp_path).collect()) == []
