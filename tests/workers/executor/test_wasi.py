"""WASI as a guest sees it: input to output, a clock of its own, randomness that repeats, and no files."""

import hashlib
import struct
import time
from collections.abc import Callable

import pytest
import wasmtime

from domain.model.limits import UNITS_MAX, CastLimits
from domain.model.messages import Outcome
from workers.executor.linker import FUNCTIONS, MODULE, NO_RESULT, OWN_MODULE, module_of
from workers.executor.protocol import ExecuteResult
from workers.executor.sandbox import Sandbox
from workers.executor.wasi import CLOCK_MONOTONIC_START_NS, CLOCK_REALTIME_START_NS

Cast = Callable[..., ExecuteResult]
Program = Callable[..., bytes]

WRITE_8_AT_64 = "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))"
ECHO = """
  (i32.store (i32.const 4) (i32.const 7))
  (loop $more
    (i32.store (i32.const 4) (i32.const 7))
    (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
    (if (i32.load (i32.const 4)) (then
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
      (br $more))))"""


@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, 14, 1_000, 100_001])
def test_input_reaches_output_byte_for_byte(size: int, cast: Cast, make_program: Program) -> None:
    data = bytes(index * 7 % 256 for index in range(size))
    result = cast(make_program(ECHO), data)
    assert (result.outcome, result.exit_code, result.output) == (Outcome.SUCCEEDED, 0, data)


@pytest.mark.parametrize("code", [0, 1, 42, 255, 4_294_967_295])
def test_exit_code_is_the_guests(code: int, cast: Cast, make_program: Program) -> None:
    result = cast(make_program(f"(call $proc_exit (i32.const {code - (1 << 32) if code > 2**31 else code}))"))
    assert result.exit_code == code
    assert result.outcome is (Outcome.SUCCEEDED if code == 0 else Outcome.EXIT_NONZERO)


def test_output_before_a_trap_is_kept(cast: Cast, make_program: Program) -> None:
    result = cast(make_program(WRITE_8_AT_64 + "unreachable"))
    assert result.outcome is Outcome.TRAP
    assert result.output == bytes(8)
    assert "unreachable" in result.message


def test_random_bytes_repeat_and_belong_to_module_and_input(cast: Cast, make_program: Program) -> None:
    # Loops as often as the random byte says, so that different bytes mean different fuel.
    body = "(drop (call $random_get (i32.const 64) (i32.const 8)))" + WRITE_8_AT_64
    body += "(local.set $i (i32.load8_u (i32.const 64)))"
    body += "(loop $l (if (local.get $i) (then (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br $l))))"
    module = make_program(body)
    first, again, other = cast(module, b"a"), cast(module, b"a"), cast(module, b"b")
    assert first.output == again.output != other.output
    assert first.fuel == again.fuel
    seed = hashlib.sha256(hashlib.sha256(module).digest() + b"a").digest()
    assert first.output == hashlib.shake_256(seed + (1).to_bytes(8, "big")).digest(8)
    assert cast(make_program("(nop)" + body), b"a").output != first.output


def test_the_next_random_bytes_are_others(cast: Cast, make_program: Program) -> None:
    twice = ("(drop (call $random_get (i32.const 64) (i32.const 8)))" + WRITE_8_AT_64) * 2
    output = cast(make_program(twice)).output
    assert output[:8] != output[8:]


def clock(identifier: int) -> str:
    return f"(drop (call $clock_time_get (i32.const {identifier}) (i64.const 1) (i32.const 64)))" + WRITE_8_AT_64


@pytest.mark.parametrize(("identifier", "start_ns"), [(0, CLOCK_REALTIME_START_NS), (1, CLOCK_MONOTONIC_START_NS)])
def test_clock_stands_still_while_the_guest_works(
    identifier: int, start_ns: int, cast: Cast, make_program: Program
) -> None:
    work = (
        "(local.set $i (i32.const 3000000)) (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
    )
    result = cast(make_program(clock(identifier) + work + clock(identifier)))
    assert struct.unpack("<QQ", result.output) == (start_ns, start_ns)


def sleep(seconds: int, *, absolute_ns: int | None = None) -> str:
    timeout = absolute_ns if absolute_ns is not None else seconds * 10**9
    return f"""
      (i64.store (i32.const 200) (i64.const 99)) (i32.store8 (i32.const 208) (i32.const 0))
      (i32.store (i32.const 216) (i32.const 1)) (i64.store (i32.const 224) (i64.const {timeout}))
      (i32.store16 (i32.const 240) (i32.const {int(absolute_ns is not None)}))
      (drop (call $poll_oneoff (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))"""


def test_sleep_returns_at_once_with_the_clock_advanced(cast: Cast, make_program: Program) -> None:
    module = make_program(
        sleep(3600) + clock(1) + sleep(0, absolute_ns=CLOCK_MONOTONIC_START_NS + 7200 * 10**9) + clock(0)
    )
    started = time.monotonic()
    result = cast(module)
    assert time.monotonic() - started < 1
    monotonic, realtime = struct.unpack("<QQ", result.output)
    assert monotonic == CLOCK_MONOTONIC_START_NS + 3600 * 10**9
    assert realtime == CLOCK_REALTIME_START_NS + 7200 * 10**9


def test_sleep_reports_its_event(cast: Cast, make_program: Program) -> None:
    copy = "(i64.store (i32.const 64) (i64.load (i32.const 300)))" + WRITE_8_AT_64
    count = "(i64.store (i32.const 64) (i64.load32_u (i32.const 400)))" + WRITE_8_AT_64
    assert struct.unpack("<QQ", cast(make_program(sleep(1) + copy + count)).output) == (99, 1)


def test_sleeping_for_ever_ends_by_the_clock_or_fuel(cast: Cast, make_program: Program) -> None:
    result = cast(make_program("(loop $l " + sleep(3600) + "(br $l))"), fuel=100_000)
    assert result.outcome is Outcome.FUEL_EXHAUSTED


def test_fuel_is_the_same_on_every_run_and_in_every_process(cast: Cast, make_program: Program) -> None:
    module = make_program(
        ECHO + clock(0) + sleep(5) + clock(1) + "(drop (call $random_get (i32.const 64) (i32.const 8)))"
    )
    results = [cast(module, b"the same input") for _ in range(3)]
    sandbox = Sandbox()
    loaded = sandbox.compile(module, hashlib.sha256(module).digest())
    here = sandbox.run(loaded, b"the same input", make_limits())
    assert {result.fuel for result in results} == {here.fuel}
    assert {result.output for result in results} == {here.output}


def make_limits() -> CastLimits:
    return CastLimits()


ERRNO_OF = {
    "fd_prestat_get": ("(i32.const 3) (i32.const 64)", 8),
    "fd_prestat_dir_name": ("(i32.const 3) (i32.const 64) (i32.const 8)", 8),
    "fd_fdstat_get": ("(i32.const 3) (i32.const 64)", 8),
    "fd_seek": ("(i32.const 1) (i64.const 0) (i32.const 0) (i32.const 64)", 70),
    "fd_read": ("(i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)", 8),
    "fd_write": ("(i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)", 8),
    "path_open": (
        (
            "(i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 0) (i64.const 0)"
            " (i32.const 0) (i32.const 64)"
        ),
        8,
    ),
    "path_unlink_file": ("(i32.const 1) (i32.const 0) (i32.const 1)", 54),
    "sock_shutdown": ("(i32.const 0) (i32.const 1)", 57),
    "clock_time_get": ("(i32.const 9) (i64.const 0) (i32.const 64)", 28),
    "proc_raise": ("(i32.const 9)", 52),
    "sched_yield": ("", 0),
    "args_sizes_get": ("(i32.const 64) (i32.const 68)", 0),
    "environ_sizes_get": ("(i32.const 64) (i32.const 68)", 0),
}


@pytest.mark.parametrize("name", ERRNO_OF)
def test_error_numbers_that_programs_rely_on(name: str, cast: Cast, make_program: Program) -> None:
    arguments, error = ERRNO_OF[name]
    letters = " ".join("i32" if letter == "i" else "i64" for letter in FUNCTIONS[name][0])
    imports = f'(import "{MODULE}" "{name}" (func $f (param {letters}) (result i32)))'
    imports += f'(import "{MODULE}" "proc_exit" (func $proc_exit (param i32)))'
    module = make_program(f"(call $proc_exit (call $f {arguments}))", imports=imports)
    assert cast(module).exit_code == error


def test_every_function_links_with_its_signature() -> None:
    imports = ""
    for name, (letters, _) in FUNCTIONS.items():
        parameters = "".join(f" (param {'i32' if letter == 'i' else 'i64'})" for letter in letters)
        result = "" if name in NO_RESULT else "(result i32)"
        imports += f'(import "{module_of(name)}" "{name}" (func {parameters} {result}))'
    module = bytes(wasmtime.wat2wasm(f'(module {imports} (memory (export "memory") 1) (func (export "_start")))'))
    sandbox = Sandbox()
    assert sandbox.run(sandbox.compile(module, bytes(32)), b"", make_limits()).outcome is Outcome.SUCCEEDED
    assert len(FUNCTIONS) == 47


def test_memory_that_grew_is_reachable_for_host_calls(cast: Cast, make_program: Program) -> None:
    body = (
        WRITE_8_AT_64
        + """
      (drop (memory.grow (i32.const 1)))
      (i64.store (i32.const 100000) (i64.const 0x1122334455667788))
      (i32.store (i32.const 0) (i32.const 100000))"""
        + WRITE_8_AT_64
    )
    assert cast(make_program(body)).output == bytes(8) + bytes.fromhex("8877665544332211")


def test_a_guest_reports_units_and_they_add_up(cast: Cast, make_program: Program) -> None:
    imports = f'(import "{OWN_MODULE}" "report_units" (func $report (param i64)))'
    body = "(call $report (i64.const 7)) (call $report (i64.const 0)) (call $report (i64.const 35))"
    assert cast(make_program(body, imports=imports)).units == 42
    # As unsigned as every integer of a guest: nobody takes back what was reported, and the sum has an end.
    back = "(call $report (i64.const 7)) (call $report (i64.const -1))"
    assert cast(make_program(back, imports=imports)).units == UNITS_MAX
    assert cast(make_program("")).units == 0


def test_what_was_reported_before_a_trap_is_told(cast: Cast, make_program: Program) -> None:
    imports = f'(import "{OWN_MODULE}" "report_units" (func $report (param i64)))'
    ended = cast(make_program("(call $report (i64.const 5)) unreachable", imports=imports))
    assert (ended.outcome, ended.units) == (Outcome.TRAP, 5)
