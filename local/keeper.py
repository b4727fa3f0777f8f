"""Runs one server as the only child of a small process, and ends it when the supervisor ends, however that happens.

Started by path under `python -I -S`, so it imports the standard library alone. A parent-death signal set by the
supervisor itself would fire when the *thread* that started the server ends; this process has one thread and watches
the supervisor as a whole. The server in turn gets a parent-death signal, should somebody kill this keeper.

    keeper.py IDENTITY STOP_SIGNAL SUPERVISOR_PID PROGRAM [ARGUMENT...]

IDENTITY is `same`, `namespace:NUMBER` (the same id outside, NUMBER inside a new user namespace) or `uid:NUMBER`.
SIGTERM stops the server in order, SIGUSR1 kills it at once; the exit code is the server's, or 126 with one line on
stderr when it could not be started at all.
"""

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

EXIT_NOT_STARTED: Final = 126
# A fast shutdown writes a checkpoint; on a slow disk with a full cache that takes seconds, not minutes.
STOP_SECONDS_MAX: Final = 20.0
QUIT_SECONDS_MAX: Final = 5.0
# Only where the kernel has no pidfd (before Linux 5.3, or macOS) is the supervisor asked for instead of waited for.
SUPERVISOR_POLL_SECONDS: Final = 0.2

# From the kernel's headers sched.h, prctl.h and capability.h: Python 3.11 has no names for them.
_CLONE_NEWUSER: Final = 0x10000000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAP_DAC_OVERRIDE: Final = 1
_CAPABILITY_VERSION_3: Final = 0x20080522


def main(arguments: list[str]) -> int:
    """Start the server, keep it, and return its exit code."""
    identity, stop_signal_text, supervisor_text, *command = arguments
    stop_signal = signal.Signals(int(stop_signal_text))
    wakeup_reader, wakeup_writer = os.pipe()
    os.set_blocking(wakeup_reader, False)
    os.set_blocking(wakeup_writer, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, _note)
    signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
    keeper = os.getpid()
    server = os.fork()
    if server == 0:
        _become_server(identity, stop_signal, keeper, command)
    return _keep(server, stop_signal, int(supervisor_text), wakeup_reader)


def _note(_number: int, _frame: FrameType | None) -> None:
    """Let the wakeup pipe carry the signal's number; the loop acts on it."""


def _keep(server: int, stop_signal: signal.Signals, supervisor: int, wakeup_reader: int) -> int:
    poll = select.poll()
    poll.register(wakeup_reader, select.POLLIN)
    supervisor_handle = _open_process(supervisor)
    if supervisor_handle is not None:
        poll.register(supervisor_handle, select.POLLIN)
    escalation = [(stop_signal, STOP_SECONDS_MAX), (signal.SIGQUIT, QUIT_SECONDS_MAX), (signal.SIGKILL, 3600.0)]
    escalate_at: float | None = None
    while True:
        poll.poll(_poll_milliseconds(escalate_at, watched=supervisor_handle is not None))
        received = _drain(wakeup_reader)
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if signal.SIGUSR1 in received:
            os.kill(server, signal.SIGKILL)
        if escalate_at is None and (signal.SIGTERM in received or signal.SIGINT in received):
            escalate_at = time.monotonic()
        if escalate_at is None and os.getppid() != supervisor:
            escalate_at = time.monotonic()
        if supervisor_handle is not None and os.getppid() != supervisor:
            poll.unregister(supervisor_handle)
            os.close(supervisor_handle)
            supervisor_handle = None
        if escalate_at is not None and time.monotonic() >= escalate_at:
            number, patience_seconds = escalation.pop(0)
            os.kill(server, number)
            escalate_at = time.monotonic() + patience_seconds


def _poll_milliseconds(escalate_at: float | None, *, watched: bool) -> int | None:
    if escalate_at is not None:
        return max(0, int((escalate_at - time.monotonic()) * 1000) + 1)
    return None if watched else int(SUPERVISOR_POLL_SECONDS * 1000)


def _open_process(process: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends, or None where there is no such thing."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(process)
    except OSError:
        return None


def _drain(reader: int) -> set[int]:
    try:
        return set(os.read(reader, 4096))
    except BlockingIOError:
        return set()


def _become_server(identity: str, stop_signal: signal.Signals, keeper: int, command: list[str]) -> NoReturn:
    try:
        for handled in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(handled, signal.SIG_DFL)
        folder = Path.cwd()
        kind, _, number = identity.partition(":")
        if kind == "namespace":
            _enter_user_namespace(int(number))
        elif kind == "uid":
            _become_user(int(number))
        # Walks the path again with the rights the server will have: a closed parent folder shows here.
        os.chdir(folder)
        # Last, because every change of identity clears it.
        _die_with_parent(stop_signal)
        if os.getppid() == keeper:
            os.execv(command[0], command)  # noqa: S606 the program is ours; a shell would only be in between
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{command[0]} could not be started as {identity}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(EXIT_NOT_STARTED)


def _enter_user_namespace(inner: int) -> None:
    outer_user, outer_group = os.geteuid(), os.getegid()
    _check(ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER), "unshare")
    _tell_kernel("setgroups", "deny")
    _tell_kernel("uid_map", f"{inner} {outer_user} 1")
    _tell_kernel("gid_map", f"{inner} {outer_group} 1")


def _tell_kernel(name: str, text: str) -> None:
    """Write by system calls alone: with the rights gone, Python might not reach the modules an opened text needs."""
    descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def _become_user(user: int) -> None:
    """Become `user`, keeping one capability of root: reaching a data folder below folders closed to others.

    Without it the folders above would have to be opened, which is exactly what must not happen.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl(PR_SET_KEEPCAPS)")
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    mask = 1 << _CAP_DAC_OVERRIDE
    # Two halves of 32 bits, each: effective, permitted, inheritable.
    if libc.capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)) != 0:
        _check(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
        return
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0), "prctl(PR_CAP_AMBIENT)")


def _die_with_parent(stop_signal: signal.Signals) -> None:
    if sys.platform == "linux":
        result = ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        _check(result, "prctl(PR_SET_PDEATHSIG)")


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
