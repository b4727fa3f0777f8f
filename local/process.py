"""One server process under its keeper: started, stopped, killed, and never left over."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from local.folder import LocalServerError
from local.ports import kept_port, new_port

_KEEPER: Final = Path(__file__).with_name("keeper.py")
# The keeper escalates to SIGKILL after 25 s; a leftover that outlives that is not coming down by itself.
_LEFTOVER_SECONDS_MAX: Final = 30.0
_KILLED_SECONDS_MAX: Final = 5.0
_READY_SECONDS_MAX: Final = 120.0
# The kept port may be taken between looking and listening; a third loss in a row has another cause.
_PORT_ATTEMPTS_MAX: Final = 3
_POLL_SECONDS: Final = 0.01
AS_IS: Final = "same"

# A log is for the last trouble, not for history.
_LOG_BYTES_MAX: Final = 16 * 1024 * 1024
# More than any server says before it gives up.
_LAST_WORDS_BYTES_MAX: Final = 64 * 1024
_LAST_WORDS_SHOWN_MAX: Final = 500


def keeper_command(identity: str, stop_signal: signal.Signals, command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` under a keeper which watches this process."""
    keeper = [sys.executable, "-I", "-S", str(_KEEPER)]
    return [*keeper, identity, str(int(stop_signal)), str(os.getpid()), *command]


# What a statement of Postgres took glibc gives back to the kernel, page by page, and has it made anew for the next one:
# a fourteenth of a batch of casts (measured). A process keeps up to this much instead; few statements take more.
_KEPT_BYTES_MAX: Final = 8 * 1024 * 1024
_KEEPING_MEMORY: Final = {
    "MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES_MAX),
    "MALLOC_MMAP_THRESHOLD_": str(_KEPT_BYTES_MAX),
    "MALLOC_TOP_PAD_": str(_KEPT_BYTES_MAX // 32),
}


def server_environment() -> dict[str, str]:
    """Return the whole environment of a server: nothing of the user's, so no PGDATA or LC_ALL can bend it."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **_KEEPING_MEMORY}


class ServerProcess:
    """A server and its keeper. Every process of the server holds the lock file `NAME.lock` of the folder.

    So whoever takes the lock knows that no process of an earlier start is left, which a pid file cannot tell.
    """

    def __init__(self, *, folder: Path, name: str, stop_signal: signal.Signals, port_lost: str) -> None:
        """`folder` is the server's own and its working folder; its log is `NAME.log` there.

        `port_lost` is what the server says when another program listens on its port.
        """
        self._folder = folder
        self._name = name
        self._stop_signal = stop_signal
        self._port_lost = port_lost
        self._lock_file = folder / f"{name}.lock"
        self._log_file = folder / f"{name}.log"
        self._port_file = folder / "port"
        self._port: int | None = None
        self._log_start_bytes = 0
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server lives as far as its keeper knows."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, chosen at the first start and the same for the life of this object."""
        assert self._port is not None, f"start {self._name} before asking for its port"
        return self._port

    def start(
        self, prepare: Callable[[int], Sequence[str]], *, is_ready: Callable[[], bool], identity: str = AS_IS
    ) -> None:
        """Run the command that `prepare` returns for a port, and return when `is_ready` says so.

        `prepare` is called when every leftover of an earlier start has ended and nothing runs. Raises
        LocalServerError, with the server's last words when it ended.
        """
        assert not self.running, f"{self._name} is running already"
        attempts = _PORT_ATTEMPTS_MAX if self._port is None else 1
        while True:
            self._launch(prepare, identity)
            try:
                self._wait_ready(is_ready)
            except LocalServerError as error:
                attempts -= 1
                if attempts == 0 or self._port_lost not in str(error):
                    raise
                self._port = new_port(self._port_file)
            else:
                return

    def _launch(self, prepare: Callable[[int], Sequence[str]], identity: str) -> None:
        lock = self._take_lock()
        try:
            if self._port is None:
                self._port = kept_port(self._port_file)
            command = prepare(self._port)
            if self._log_file.exists() and self._log_file.stat().st_size > _LOG_BYTES_MAX:
                self._log_file.replace(self._log_file.with_suffix(".log.1"))
            with self._log_file.open("ab") as log:
                self._log_start_bytes = log.tell()
                self._keeper = subprocess.Popen(  # noqa: S603 the command is ours, nothing in it comes from outside
                    keeper_command(identity, self._stop_signal, command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    env=server_environment(),
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C in the terminal is the supervisor's to handle, in its own order.
                )
        finally:
            os.close(lock)

    def _wait_ready(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while not is_ready():
            if not self.running:
                message = f"{self._name} ended at start: {self._last_words()} (the whole log: {self._log_file})"
                raise LocalServerError(message)
            if time.monotonic() > deadline:
                self.kill()
                message = f"{self._name} was not ready after {_READY_SECONDS_MAX:.0f} s; its log is {self._log_file}."
                raise LocalServerError(message)
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop in order and wait for the end; does nothing when the server is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL the server, as a power cut would; does nothing when it is not running."""
        self._end(signal.SIGUSR1)

    def _last_words(self) -> str:
        """Return in one line what the server said last since it was started: from its fatal error on, if any."""
        with self._log_file.open("rb") as log:
            log.seek(self._log_start_bytes)
            lines = log.read(_LAST_WORDS_BYTES_MAX).decode("utf-8", "replace").strip().splitlines()
        fatal = next((number for number, line in enumerate(lines) if "FATAL" in line), -1)
        return " ".join(lines[fatal:])[:_LAST_WORDS_SHOWN_MAX] or "it said nothing"

    def _end(self, number: signal.Signals) -> None:
        if self._keeper is None:
            return
        if self._keeper.poll() is None:
            self._keeper.send_signal(number)
        self._keeper.wait()
        self._keeper = None

    def _take_lock(self) -> int:
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _lock_within(lock, _LEFTOVER_SECONDS_MAX):
            return lock
        for process in _holders(self._lock_file):
            # One that ended meanwhile is fine; one that is not ours to kill shows below, as the lock stays taken.
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if _lock_within(lock, _KILLED_SECONDS_MAX):
            return lock
        os.close(lock)
        message = f"An earlier {self._name} still runs in {self._folder} and does not end: kill it, then start again."
        raise LocalServerError(message)


def _lock_within(lock: int, patience_seconds: float) -> bool:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True


def _holders(lock_file: Path) -> list[int]:
    """Return the other processes that have the lock file open; none where there is no /proc to ask."""
    target = str(lock_file.resolve())
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            opened = {str(link.readlink()) for link in (entry / "fd").iterdir()}
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else: then it is not ours
        if target in opened and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found
