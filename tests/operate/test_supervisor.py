import io
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from operate.log_follower import LogFollower
from operate.processes import ProcessPlan
from operate.supervisor import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, SETTLED_SECONDS, Child, Supervisor
from tests.stack import until

SAY_AND_STAY = "import signal, sys, time; print('here', flush=True); {before}time.sleep(60)"
IGNORE_SIGTERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "

Make = Callable[..., Child]


@pytest.fixture
def make(tmp_path: Path) -> Generator[Make]:
    made: list[Child] = []

    def child(name: str, code: str = SAY_AND_STAY.format(before=""), stops_at: int = 0) -> Child:
        plan = ProcessPlan(name=name, command=(sys.executable, "-c", code), environment={}, stops_at=stops_at)
        made.append(Child(plan, tmp_path))
        return made[-1]

    yield child
    for one in made:
        one.kill()


def said(child: Child, word: str) -> bool:
    return word in child.log_file.read_text()


class Clock:
    """Time that passes when the test says so."""

    def __init__(self, supervisor: Supervisor, now: float) -> None:
        self.supervisor = supervisor
        self.now = now

    def seconds_until_restart(self, child: Child) -> float:
        """Let the child die, and return after how long the supervisor started it again."""
        until(lambda: child.process_id is not None, "its keeper has started it")
        child.kill()
        assert self.supervisor.run_once(self.now) == 0
        died_at = self.now
        while self.supervisor.run_once(self.now) == 0:
            assert not child.running
            self.now += BACKOFF_SECONDS_MIN / 2
        assert child.running
        return self.now - died_at


def test_what_dies_is_reported_and_started_again_later_and_later(make: Make) -> None:
    lines: list[str] = []
    child, other = make("one"), make("two")
    supervisor = Supervisor([child, other], report=lines.append)
    supervisor.start()
    until(lambda: other.process_id is not None, "the other is up")
    neighbour = other.process_id
    clock = Clock(supervisor, now=0.0)
    pauses = [clock.seconds_until_restart(child) for _ in range(9)]
    assert pauses[:4] == [BACKOFF_SECONDS_MIN * factor for factor in (1, 2, 4, 8)]
    assert pauses[-1] == BACKOFF_SECONDS_MAX
    assert len(lines) == len(pauses)
    assert lines[0].startswith("one was ended by SIGKILL; it starts again in 0.25 s")
    assert other.process_id == neighbour
    clock.now += SETTLED_SECONDS + 1
    assert clock.seconds_until_restart(child) == BACKOFF_SECONDS_MIN


def test_they_stop_by_their_number_and_only_then(make: Make, tmp_path: Path) -> None:
    order = tmp_path / "order"
    note = f"open({str(order)!r}, 'a').write(sys.argv[0] + '{{name}} ')"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n    time.sleep({pause}); " + note + "; sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('here', flush=True); time.sleep(60)"
    )
    children = [
        make("last", code.format(name="last", pause=0), 2),
        make("first", code.format(name="first", pause=0.3), 0),
        make("middle", code.format(name="middle", pause=0.1), 1),
    ]
    supervisor = Supervisor(children, report=print)
    supervisor.start()
    until(lambda: all(said(child, "here") for child in children), "all are up")
    supervisor.stop()
    assert order.read_text().split() == ["-cfirst", "-cmiddle", "-clast"]
    assert [child.exit_code for child in children] == [0, 0, 0]


def test_in_a_hurry_the_deaf_are_killed(make: Make) -> None:
    child = make("deaf", SAY_AND_STAY.format(before=IGNORE_SIGTERM))
    supervisor = Supervisor([child], report=print)
    supervisor.start()
    until(lambda: said(child, "deaf"), "it is up")
    supervisor.hurry()
    supervisor.stop()
    assert child.exit_code == 128 + signal.SIGKILL


def test_last_words_are_those_of_the_last_run(make: Make) -> None:
    child = make("talker", "import sys; print('old' * 10, flush=True); sys.exit('the end')")
    for _ in range(2):
        child.start()
        until(lambda: not child.running, "it has ended")
    assert child.exit_code == 1
    assert child.last_words().splitlines() == ["old" * 10, "the end"]


def test_a_server_that_died_is_started_again() -> None:
    class Server:
        running = False

        def start(self) -> None:
            self.running = True

    lines: list[str] = []
    supervisor = Supervisor([], {"Redis": Server()}, report=lines.append)
    assert [supervisor.run_once(0.0), supervisor.run_once(1.0)] == [1, 0]
    assert lines == ["Redis has ended; it starts again"]


def test_new_whole_lines_are_followed_and_an_emptied_log_too(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("old\n")
    shown = io.StringIO()
    follower = LogFollower(tmp_path, shown, enabled=False)
    with log.open("a") as writer:
        writer.write("new\nhal")
    follower.copy_once()
    with log.open("a") as writer:
        writer.write("f\n")
    follower.copy_once()
    log.write_text("x\n")
    follower.copy_once()
    assert [line.split() for line in shown.getvalue().splitlines()] == [["api", "new"], ["api", "half"], ["api", "x"]]
