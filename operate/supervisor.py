"""Keeps a set of processes running: starts them, starts again what dies, stops them in order.

Each process has a keeper (`local/keeper.py`) that ends it when this program ends, however that happens.
"""

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol

from local.process import AS_IS, keeper_command
from operate.processes import ProcessPlan

# A crash is made up for at once; a process that cannot start is tried less and less often.
BACKOFF_SECONDS_MIN: Final = 0.25
BACKOFF_SECONDS_MAX: Final = 15.0
# Who lived this long did start; its next crash is a new story.
SETTLED_SECONDS: Final = 30.0
LOG_BYTES_MAX: Final = 64 * 1024 * 1024
_POLL_SECONDS: Final = 0.05
_LAST_WORDS_BYTES_MAX: Final = 4_096
_LAST_WORDS_LINES_MAX: Final = 6
_SIGNAL_EXIT_BASE: Final = 128


class EmbeddedServer(Protocol):
    """What the supervisor asks of an embedded Postgres or Redis."""

    @property
    def running(self) -> bool:
        """Whether it lives."""
        ...

    def start(self) -> None:
        """Start it and return when it answers."""
        ...


class Child:
    """One process and its log file, which it writes itself: it never waits for us to read."""

    def __init__(self, plan: ProcessPlan, log_folder: Path) -> None:
        self.plan: Final = plan
        self.log_file: Final = log_folder / f"{plan.name}.log"
        self._keeper: subprocess.Popen[bytes] | None = None
        self._log_start_bytes = 0

    @property
    def name(self) -> str:
        """The process's name in Procfile."""
        return self.plan.name

    @property
    def exit_code(self) -> int | None:
        """How the last run ended, 128 + N for signal N; None while it runs or before it was started."""
        code = None if self._keeper is None else self._keeper.poll()
        # Negative: the keeper itself was killed, and has taken the process along.
        return code if code is None or code >= 0 else _SIGNAL_EXIT_BASE - code

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def process_id(self) -> int | None:
        """The id of the running process itself, which is its keeper's only child; None while there is none. Linux."""
        if not self.running or self._keeper is None:
            return None
        keeper = self._keeper.pid
        children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text(encoding="ascii").split()
        return int(children[0]) if children else None

    def start(self) -> None:
        """Start the process; its log goes on where the last run's ended."""
        assert not self.running, f"{self.name} runs already"
        with self.log_file.open("ab") as log:
            self._log_start_bytes = log.tell()
            self._keeper = subprocess.Popen(  # noqa: S603 the command is ours, nothing in it comes from outside
                keeper_command(AS_IS, signal.SIGTERM, self.plan.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.plan.environment,
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle, in our order.
            )

    def ask_to_stop(self) -> None:
        """Send SIGTERM; the keeper sees to it that the process ends."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL the process, as a crash would, and wait until it is gone."""
        self._signal(signal.SIGUSR1)
        self.wait()

    def wait(self) -> None:
        """Wait until the process is gone."""
        if self._keeper is not None:
            self._keeper.wait()

    def last_words(self) -> str:
        """Return the last lines that this run wrote into its log."""
        with self.log_file.open("rb") as log:
            log.seek(max(self._log_start_bytes, log.seek(0, 2) - _LAST_WORDS_BYTES_MAX))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-_LAST_WORDS_LINES_MAX:]) or "it wrote nothing"

    def trim_log(self) -> None:
        """Move what is written aside when it is much; the process appends, so it goes on in the emptied file."""
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES_MAX:
            shutil.copyfile(self.log_file, self.log_file.with_suffix(".log.1"))
            with self.log_file.open("r+b") as log:
                log.truncate(0)
            self._log_start_bytes = 0

    def _signal(self, number: signal.Signals) -> None:
        if self._keeper is not None and self._keeper.poll() is None:
            self._keeper.send_signal(number)


class _Restart:
    """When a process is started again."""

    def __init__(self, now: float) -> None:
        self.started_at = now
        self.due_at: float | None = None
        self.pause_seconds = BACKOFF_SECONDS_MIN

    def plan(self, now: float) -> float:
        if now - self.started_at > SETTLED_SECONDS:
            self.pause_seconds = BACKOFF_SECONDS_MIN
        pause_seconds = self.pause_seconds
        self.due_at = now + pause_seconds
        self.pause_seconds = min(pause_seconds * 2, BACKOFF_SECONDS_MAX)
        return pause_seconds


class Supervisor:
    """Runs the children, in one thread at a time; `hurry` may be called from anywhere, also a signal handler."""

    def __init__(
        self,
        children: Sequence[Child],
        servers: Mapping[str, EmbeddedServer] | None = None,
        *,
        report: Callable[[str], None],
    ) -> None:
        """`servers` are started and stopped by others, and started again here.

        `report` takes a line for a person.
        """
        self.children: Final = children
        self._servers: Final = servers or {}
        self._report: Final = report
        self._restarts: Final[dict[str, _Restart]] = {}
        self._hurry: Final = threading.Event()

    def start(self) -> None:
        """Start all."""
        for child in self.children:
            child.start()
            self._restarts[child.name] = _Restart(time.monotonic())

    def ended(self) -> Child | None:
        """Return a child that has ended, if one has."""
        return next((child for child in self.children if not child.running), None)

    def run(self, stop: threading.Event) -> None:
        """Keep all running until `stop` is set."""
        while not stop.wait(_POLL_SECONDS):
            self.run_once(time.monotonic())

    def run_once(self, now: float) -> int:
        """Look after each server and child and return how many were started again; `now` counts monotonic seconds.

        Raises LocalServerError when a server does not come up again.
        """
        started = 0
        for name, server in self._servers.items():
            if not server.running:
                self._report(f"{name} has ended; it starts again")
                server.start()
                started += 1
        for child in self.children:
            child.trim_log()
            if child.running:
                continue
            restart = self._restarts[child.name]
            if restart.due_at is None:
                pause_seconds = restart.plan(now)
                how = _how_it_ended(child.exit_code)
                self._report(f"{child.name} {how}; it starts again in {pause_seconds:.2g} s (log: {child.log_file})")
            elif now >= restart.due_at:
                restart.due_at, restart.started_at = None, now
                child.start()
                started += 1
        return started

    def stop(self) -> None:
        """Stop the children, by `stops_at`; each finishes what it has begun, unless there is no time for it."""
        for _, group in groupby(sorted(self.children, key=_stops_at), key=_stops_at):
            stopping = list(group)
            for child in stopping:
                child.ask_to_stop()
            while any(child.running for child in stopping):
                if self._hurry.wait(_POLL_SECONDS):
                    for child in stopping:
                        child.kill()

    def hurry(self) -> None:
        """Have `stop` kill what has not ended yet."""
        self._hurry.set()


def _stops_at(child: Child) -> int:
    return child.plan.stops_at


def _how_it_ended(code: int | None) -> str:
    if code is not None and code > _SIGNAL_EXIT_BASE:
        return f"was ended by {signal.Signals(code - _SIGNAL_EXIT_BASE).name}"
    return f"ended with exit code {code}"
