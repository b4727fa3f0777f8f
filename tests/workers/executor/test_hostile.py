"""Guests that want more than they may have: each ends in time, with the right name, and harms nobody after it."""

import time
from collections.abc import Callable

import pytest

from domain.model.limits import HOST_CALLS_MAX, MEMORY_BYTES_DEFAULT, MIB
from domain.model.messages import Outcome
from workers.executor.parent import Executor
from workers.executor.protocol import ExecuteResult

Cast = Callable[..., ExecuteResult]
Program = Callable[..., bytes]

FOREVER = "(loop $l (br $l))"
WRITE_FOREVER = "(loop $l (drop (call $fd_write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 32))) (br $l))"


def exit_unless(call: str, error: int) -> str:
    """Leave with success, which the test takes for a failure, unless the host call answers this number."""
    return f"(br_if 0 (i32.ne (call {call}) (i32.const {error})))"


# A body, what stands before it, its limits, how it must end.
HOSTILE = {
    "infinite loop, by fuel": (FOREVER, "", {"fuel": 10_000_000}, Outcome.FUEL_EXHAUSTED),
    "infinite loop, by the clock": (FOREVER, "", {"fuel": 10**12, "wall_ms": 100}, Outcome.WALL_TIME_EXCEEDED),
    "loop in the start function": (
        "",
        f"(func $s {FOREVER}) (start $s)",
        {"fuel": 10**12, "wall_ms": 100},
        Outcome.WALL_TIME_EXCEEDED,
    ),
    "endless recursion": ("(call $f)", "(func $f (call $f) (call $f))", {}, Outcome.TRAP),
    "grow until it fails, then trap": (
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        "",
        {"memory_bytes": 8 * MIB},
        Outcome.MEMORY_EXCEEDED,
    ),
    "grow until it fails, then exit 1": (
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (call $proc_exit (i32.const 1))",
        "",
        {"memory_bytes": 8 * MIB},
        Outcome.MEMORY_EXCEEDED,
    ),
    "grow a table for ever": (
        "(loop $l (drop (table.grow $t (ref.null func) (i32.const 60000))) (br $l))",
        "(table $t 1 funcref)",
        {"fuel": 10_000_000},
        Outcome.FUEL_EXHAUSTED,
    ),
    "output flood": (WRITE_FOREVER.format(fd=1), "", {"output_bytes": 100_000}, Outcome.OUTPUT_TOO_LARGE),
    "log flood": (WRITE_FOREVER.format(fd=2), "", {"fuel": 200_000, "log_bytes": 1_000}, Outcome.FUEL_EXHAUSTED),
    "one write of the whole memory, again and again": (
        "(i32.store (i32.const 4) (i32.const 60000))" + WRITE_FOREVER.format(fd=2),
        "",
        {"fuel": 200_000},
        Outcome.FUEL_EXHAUSTED,
    ),
    "gigabytes of random bytes": (
        (
            "(drop (memory.grow (i32.const 900)))"
            "(loop $l (drop (call $random_get (i32.const 64) (i32.const 50000000))) (br $l))"
        ),
        "",
        {},
        Outcome.TRAP,
    ),
    "pointers outside of memory": (
        (
            exit_unless("$fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 32)", 21)
            + exit_unless("$random_get (i32.const 65530) (i32.const 8)", 21)
            + exit_unless("$poll_oneoff (i32.const -48) (i32.const 0) (i32.const 9) (i32.const 0)", 21)
            + "(call $proc_exit (i32.const 7))"
        ),
        "",
        {},
        Outcome.EXIT_NONZERO,
    ),
    "a list of four thousand million vectors": (
        (
            exit_unless("$fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 32)", 28)
            + "(call $proc_exit (i32.const 7))"
        ),
        "",
        {},
        Outcome.EXIT_NONZERO,
    ),
    "division by zero": ("(drop (i32.div_s (i32.const 1) (local.get $i)))", "", {}, Outcome.TRAP),
    "access outside of memory": ("(drop (i32.load (i32.const -4)))", "", {}, Outcome.TRAP),
    "indirect call into an empty table": ("(call_indirect (i32.const 0))", "(table 1 funcref)", {}, Outcome.TRAP),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_guest_is_stopped_in_time(name: str, cast: Cast, make_program: Program) -> None:
    body, before, limits, outcome = HOSTILE[name]
    module = make_program(body, before=before)
    started = time.monotonic()
    result = cast(module, wall_ms=limits.get("wall_ms", 5_000), **{k: v for k, v in limits.items() if k != "wall_ms"})
    assert result.outcome is outcome, result
    assert time.monotonic() - started < limits.get("wall_ms", 5_000) / 1000 + 0.6
    assert result.fuel is not None
    assert 0 < result.memory_bytes_peak <= limits.get("memory_bytes", MEMORY_BYTES_DEFAULT)
    assert (result.message == "") is (outcome is Outcome.SUCCEEDED)


def test_the_child_survives_all_of_them(shared_executor: Executor) -> None:
    assert shared_executor.child_deaths == 0


def test_too_many_host_calls_end_the_cast(cast: Cast, make_program: Program) -> None:
    body = "(loop $l (drop (call $fd_prestat_get (i32.const 3) (i32.const 0))) (br $l))"
    result = cast(make_program(body), fuel=10**10, wall_ms=30_000)
    assert result.outcome is Outcome.TRAP
    assert str(HOST_CALLS_MAX) in result.message


def test_output_is_cut_at_its_limit_and_log_too(cast: Cast, make_program: Program) -> None:
    result = cast(make_program(WRITE_FOREVER.format(fd=1)), output_bytes=1_001)
    assert len(result.output) == 1_001
    result = cast(make_program(WRITE_FOREVER.format(fd=2)), fuel=100_000, log_bytes=333)
    assert len(result.log) == 333


def test_memory_refused_at_instantiation(cast: Cast, make_program: Program) -> None:
    result = cast(make_program(""), memory_bytes=32_768)
    assert result.outcome is Outcome.MEMORY_EXCEEDED
    assert "65536" in result.message
    assert result.fuel == 0


def test_a_guest_stopped_by_the_clock_does_not_ride_free(cast: Cast, make_program: Program) -> None:
    # The engine holds this loop's fuel in a register when the epoch ends it.
    result = cast(make_program(FOREVER), fuel=10**12, wall_ms=100)
    assert result.fuel is not None
    assert result.cpu_us > 0
    assert result.fuel >= result.cpu_us // 1000 * 200_000  # what a CPU millisecond costs at least


def test_nothing_of_one_guest_is_seen_by_the_next(cast: Cast, make_program: Program) -> None:
    marker = 0x5EC2E7_5EC2E7
    fill = "(loop $l (i64.store (local.get $i) (i64.const %d)) (local.set $i (i32.add (local.get $i) (i32.const 8)))"
    fill = fill % marker + "(br_if $l (i32.lt_u (local.get $i) (i32.const 8388608))))"
    scan = "(loop $l (if (i64.eq (i64.load (local.get $i)) (i64.const %d)) (then unreachable))"
    scan = scan % marker + "(local.set $i (i32.add (local.get $i) (i32.const 8)))"
    scan += "(br_if $l (i32.lt_u (local.get $i) (i32.const 8388608))))"
    grow = "(drop (memory.grow (i32.const 127)))"
    for _ in range(3):
        assert cast(make_program(grow + fill)).outcome is Outcome.SUCCEEDED
        assert cast(make_program(grow + scan)).outcome is Outcome.SUCCEEDED
    # The scan can fail: a guest that finds its own marker traps.
    assert cast(make_program(grow + fill + "(local.set $i (i32.const 0))" + scan)).outcome is Outcome.TRAP
