"""Casts sent ahead: in order, each blamed for itself alone, none kept waiting behind a slow one."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from domain.model.messages import Outcome
from workers.executor import parent, process
from workers.executor.parent import Executor, ExecutorConfig
from workers.executor.process import Child
from workers.executor.protocol import LENGTH_PREFIX, ExecuteRequest, JailMode

Request = Callable[..., ExecuteRequest]
Program = Callable[..., bytes]

FOREVER = "(loop $l (br $l))"
# Answers its input, of eight bytes at most.
ECHO = """
  (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
  (i32.store (i32.const 4) (i32.load (i32.const 16)))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))"""


class Library(Protocol):
    folder: Path

    def publish(self, module: bytes) -> bytes: ...
    def config(self, jail: JailMode = JailMode.REQUIRED) -> ExecutorConfig: ...


class Line:
    """What stands in line behind the next cast, and how often it was given back."""

    def __init__(self) -> None:
        self.behind: list[ExecuteRequest] = []
        self.given_back = 0
        self.on_take: Callable[[], object] = lambda: None

    def take(self, first: ExecuteRequest) -> Sequence[ExecuteRequest]:
        del first
        self.on_take()
        taken, self.behind = self.behind, []
        return taken

    def give_back(self) -> None:
        self.given_back += 1


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def executor(library: Library, line: Line) -> Iterator[Executor]:
    executor = Executor(library.config(), line)
    executor.start()
    yield executor
    executor.close()


@pytest.fixture
def echoes(library: Library, make_program: Program, make_request: Request) -> Callable[[int], list[ExecuteRequest]]:
    digest = library.publish(make_program(ECHO))
    return lambda count: [make_request(digest, b"%08d" % number) for number in range(count)]


@pytest.fixture
def forever(library: Library, make_program: Program, make_request: Request) -> Callable[..., ExecuteRequest]:
    digest = library.publish(make_program(FOREVER))
    return lambda **limits: make_request(digest, fuel=10**12, **limits)


def outputs(executor: Executor, requests: Sequence[ExecuteRequest]) -> list[bytes]:
    return [executor.run(request).output for request in requests]


def inputs(requests: Sequence[ExecuteRequest]) -> list[bytes]:
    return [request.input for request in requests]


def pid_of(executor: Executor) -> int:
    pid = executor.child_pid
    assert pid is not None
    return pid


def test_each_gets_its_own_answer(
    executor: Executor, line: Line, echoes: Callable[[int], list[ExecuteRequest]]
) -> None:
    first, *line.behind = requests = echoes(16)
    assert outputs(executor, [first, *requests[1:]]) == inputs(requests)
    assert outputs(executor, again := echoes(2)) == inputs(again)


def test_what_is_behind_a_slow_one_is_given_back_and_can_be_run_all_the_same(
    executor: Executor,
    line: Line,
    echoes: Callable[[int], list[ExecuteRequest]],
    forever: Callable[..., ExecuteRequest],
) -> None:
    line.behind = requests = echoes(3)
    assert executor.run(forever(wall_ms=300)).outcome is Outcome.WALL_TIME_EXCEEDED
    assert line.given_back == 1
    assert outputs(executor, requests) == inputs(requests)
    assert executor.child_deaths == 0


def test_given_back_when_the_slow_one_is_not_the_first(
    executor: Executor,
    line: Line,
    echoes: Callable[[int], list[ExecuteRequest]],
    forever: Callable[..., ExecuteRequest],
) -> None:
    first, *rest = requests = echoes(3)
    slow = forever(wall_ms=300)
    line.behind = [slow, *rest]
    # A machine so busy that the slow one does not begin in time has given it back too, and it is run then.
    assert executor.run(first).output == first.input
    assert executor.run(slow).outcome is Outcome.WALL_TIME_EXCEEDED
    assert line.given_back == 1
    assert outputs(executor, rest) == inputs(requests[1:])


def test_a_child_killed_under_the_first_is_the_first_ones_fault_alone(
    executor: Executor,
    line: Line,
    echoes: Callable[[int], list[ExecuteRequest]],
    forever: Callable[..., ExecuteRequest],
) -> None:
    line.behind = requests = echoes(3)
    pid = pid_of(executor)
    line.on_take = threading.Timer(0.01, lambda: os.kill(pid, signal.SIGABRT)).start
    assert executor.run(forever()).outcome is Outcome.SANDBOX_CRASHED
    line.on_take = lambda: None
    assert outputs(executor, requests) == inputs(requests)
    assert executor.child_deaths == 1
    assert executor.child_pid != pid


def test_an_overrun_is_counted_from_its_own_beginning(
    executor: Executor,
    line: Line,
    echoes: Callable[[int], list[ExecuteRequest]],
    forever: Callable[..., ExecuteRequest],
) -> None:
    line.behind = requests = echoes(3)
    pid = pid_of(executor)
    os.kill(pid, signal.SIGSTOP)  # it ticks no epoch and reads nothing: only the parent can end this
    assert executor.run(forever(wall_ms=100)).outcome is Outcome.WALL_TIME_EXCEEDED
    assert outputs(executor, requests) == inputs(requests)
    assert executor.child_deaths == 1
    assert executor.child_pid != pid


def test_a_canceled_one_leaves_those_behind_it_unharmed(
    executor: Executor,
    line: Line,
    echoes: Callable[[int], list[ExecuteRequest]],
    forever: Callable[..., ExecuteRequest],
) -> None:
    line.behind = requests = echoes(3)
    slow = forever()
    line.on_take = threading.Timer(0.02, lambda: executor.kill(slow.cast_id)).start
    assert executor.run(slow).outcome is Outcome.CANCELED
    line.on_take = lambda: None
    assert outputs(executor, requests) == inputs(requests)
    assert executor.child_deaths == 0


def test_one_that_nobody_asks_for_any_more_is_left_out(
    executor: Executor, line: Line, echoes: Callable[[int], list[ExecuteRequest]]
) -> None:
    first, *line.behind = requests = echoes(4)
    asked = [first, requests[2], requests[3]]
    assert outputs(executor, asked) == inputs(asked)
    assert executor.child_deaths == 0


def test_one_that_nobody_asks_for_and_that_does_not_end_goes_with_its_child(
    executor: Executor,
    line: Line,
    echoes: Callable[[int], list[ExecuteRequest]],
    forever: Callable[..., ExecuteRequest],
) -> None:
    requests = echoes(2)
    line.behind = [forever(), requests[1]]
    assert outputs(executor, requests) == inputs(requests)
    assert executor.child_deaths == 0


def test_the_child_is_looked_at_after_the_last(
    executor: Executor,
    line: Line,
    echoes: Callable[[int], list[ExecuteRequest]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parent, "RESIDENT_BYTES_MAX", 1)
    first, *line.behind = requests = echoes(3)
    assert outputs(executor, [first, *requests[1:]]) == inputs(requests)
    assert executor.child_pid is None
    assert executor.child_deaths == 0


def test_one_whose_turn_comes_too_late_is_not_begun(
    executor: Executor,
    line: Line,
    echoes: Callable[[int], list[ExecuteRequest]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parent, "BEGIN_WITHIN_SECONDS", 0.0)
    first, *line.behind = requests = echoes(4)
    assert executor.run(first).output == first.input
    # The child has refused all of them by now, so another thread may run them: none runs twice.
    assert executor.run(requests[1]).output == requests[1].input
    assert line.given_back == 1
    assert outputs(executor, requests[2:]) == inputs(requests[2:])
    assert executor.child_deaths == 0


def test_answers_that_do_not_fit_into_the_socket_together_are_read_before_the_last(
    line: Line, library: Library, make_program: Program, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody is late here, so a parent that sleeps until the last is answered while the child waits for room sees both
    # asleep for a minute.
    monkeypatch.setattr(parent, "_LATE_SECONDS", 60.0)
    monkeypatch.setattr(parent, "BEGIN_WITHIN_SECONDS", 60.0)
    patient = Executor(library.config(), line)
    body = """
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 65000))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))"""
    digest = library.publish(make_program(body))
    first, *line.behind = requests = [make_request(digest) for _ in range(16)]
    began_at = time.monotonic()
    assert [len(output) for output in outputs(patient, [first, *requests[1:]])] == [65_000] * 16
    assert time.monotonic() - began_at < 30
    assert line.given_back == 0
    patient.close()


def test_a_batch_wakes_its_parent_once(
    line: Line,
    library: Library,
    echoes: Callable[[int], list[ExecuteRequest]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[bool] = []
    await_bell = Child.await_bell

    def noted(child: Child) -> bool:
        heard.append(await_bell(child))
        return heard[-1]

    monkeypatch.setattr(Child, "await_bell", noted)
    monkeypatch.setattr(parent, "_LATE_SECONDS", 60.0)
    patient = Executor(library.config(), line)
    for _ in range(3):
        first, *line.behind = requests = echoes(16)
        assert outputs(patient, [first, *requests[1:]]) == inputs(requests)
    assert heard == [True] * 3
    patient.close()


def frame(message: bytes) -> bytes:
    return LENGTH_PREFIX.pack(len(message)) + message


def result(output: bytes) -> bytes:
    return frame(b"\x99\xa9succeeded\x00\x01\x00\x00\x00\xc4" + bytes([len(output)]) + output + b"\xc4\x00\xa0")


def fake_child(tmp_path: Path, *answers: bytes) -> Path:
    """A program in the place of Python: it says that it is up, and answers each time it is sent something."""
    ready = b"\x94\xa1v\xa1k\x90\xa0"  # ChildReady("v", "k", (), "")
    script = tmp_path / "python"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\nfd = int(sys.argv[-1])\nos.read(fd, 65536)\n"
        f"os.write(fd, {frame(ready)!r})\nfor answer in {answers!r}:\n"
        "    os.read(fd, 65536)\n    os.write(fd, answer)\nos.read(fd, 65536)\n"
    )
    script.chmod(0o755)
    return script


def test_one_that_was_not_begun_is_sent_again(
    tmp_path: Path, library: Library, line: Line, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_begun = frame(b"")
    child = fake_child(tmp_path, result(b"1") + not_begun + not_begun, result(b"2"), result(b"3"))
    monkeypatch.setattr(process.sys, "executable", str(child))
    executor = Executor(library.config(), line)
    first, *line.behind = requests = [make_request(bytes(32)) for _ in range(3)]
    assert outputs(executor, [first, *requests[1:]]) == [b"1", b"2", b"3"]
    assert line.given_back == 1
    assert executor.child_deaths == 0
    executor.close()


def test_more_answers_than_casts_are_a_lie(
    tmp_path: Path, library: Library, line: Line, make_request: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        process.sys, "executable", str(fake_child(tmp_path, result(b"1") + result(b"2") + result(b"3")))
    )
    executor = Executor(library.config(), line)
    first, second = make_request(bytes(32)), make_request(bytes(32))
    line.behind = [second]
    assert executor.run(first).output == b"1"
    assert executor.run(second).outcome is Outcome.SANDBOX_CRASHED
    assert executor.child_deaths == 1
    executor.close()
