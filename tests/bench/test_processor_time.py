import subprocess
import sys

from bench.processor_time import cpu_us_each, part_of, processor_seconds

BUSY = "sum(range(20_000_000)); print(flush=True); input()"


def test_the_time_of_a_descendant_counts_for_its_part() -> None:
    before = processor_seconds()
    # Named as a ledger is, so that it is taken for one; a grandchild of ours.
    command = ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", BUSY, "workers.ledger"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        busy.stdout.readline()
        after = processor_seconds()
        busy.communicate(b"\n")
    assert after["ledger"] - before.get("ledger", 0) > 0.05
    assert set(cpu_us_each(before, after, 10)) >= {"ledger_cpu_us"}


def test_parts_are_told_from_their_command_lines() -> None:
    commands = {
        "python -m local.keeper SIGTERM python -m workers.cast": "workers",
        "python -m workers.executor 7": "executors",
        "postgres: spell_engine spell 127.0.0.1(4711) idle": "postgres",
        "python -m bench.generator 0,1": "other",
    }
    assert {command: part_of(command) for command in commands} == commands


def test_what_is_new_counts_whole_and_each_is_a_share() -> None:
    assert cpu_us_each({"api": 1.0}, {"api": 3.0, "redis": 1.0}, 1_000) == {"api_cpu_us": 2_000, "redis_cpu_us": 1_000}
