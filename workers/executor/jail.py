"""The jail around a process that runs strangers' code: many thin layers, each of which would do if all others failed.

`enter` puts them on in the one order that works, and says for each whether it holds. The order matters:
- the namespace first, while there are privileges and a single thread;
- the death signal after the change of user, which clears it;
- Landlock before the ticker's thread (it binds a thread and its heirs), seccomp after it (it forbids threads).
"""

import ctypes
import errno
import os
import pwd
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from domain.model.limits import MIB
from workers.executor import landlock, seccomp
from workers.executor.protocol import JailLayer, JailMode

# A guest's memory is reserved as 4 GiB and guards; the rest is for Python and artifacts. It bounds what is mapped, not
# what is used: that is bounded by the store's limits, and checked as resident size after each cast.
ADDRESS_SPACE_BYTES_MAX: Final = 8 * 1024 * MIB
# The engine keeps the file of every loaded module open (it maps initial memory from it), and `loader` keeps 64.
OPEN_FILES_MAX: Final = 96

# User ids that no distribution hands out: far above people, services and subordinate ranges.
_UNUSED_ID_BASE: Final = 0x7000_0000
# For a container whose map ends at 65,535: systemd's range for users that exist only while a service runs.
_UNUSED_ID_FALLBACK: Final = 61_184
_UNUSED_ID_FALLBACK_COUNT: Final = 4_000

_CLONE_NEWUTS: Final = 0x0400_0000
_CLONE_NEWIPC: Final = 0x0800_0000
_CLONE_NEWUSER: Final = 0x1000_0000
_CLONE_NEWNET: Final = 0x4000_0000

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x2008_0522

_libc: Final = ctypes.CDLL(None, use_errno=True)


class JailError(Exception):
    """An essential layer is missing and the mode is `required`; the message names it and what to do."""


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {errno.errorcode.get(number, number)}")


def _prctl(option: int, argument: int, what: str) -> None:
    _checked(_libc.prctl(option, argument, 0, 0, 0), what)


def lower_limit(kind: int, bound: int) -> None:
    """Lower a limit, soft and hard; one that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
    resource.setrlimit(kind, (bound, bound))


def limit_resources(address_space_bytes: int) -> str:
    """Bound what this process may take from the machine. RLIMIT_CPU is moved by the parent, cast by cast."""
    lower_limit(resource.RLIMIT_CORE, 0)
    lower_limit(resource.RLIMIT_FSIZE, 0)
    lower_limit(resource.RLIMIT_MEMLOCK, 0)
    lower_limit(resource.RLIMIT_MSGQUEUE, 0)
    lower_limit(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)
    lower_limit(resource.RLIMIT_AS, address_space_bytes)
    return f"address space {address_space_bytes // MIB} MiB, {OPEN_FILES_MAX} open files, files of 0 bytes"


def _isolate_network() -> str:
    """Leave the host's network, IPC and host name; an ordinary user needs a user namespace of its own for that."""
    spaces = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
    if _libc.unshare(spaces) == 0:
        return "network, ipc and uts namespaces"
    _checked(_libc.unshare(spaces | _CLONE_NEWUSER), "unshare")
    return "user, network, ipc and uts namespaces"


def _is_free(user_id: int) -> bool:
    try:
        pwd.getpwuid(user_id)
    except KeyError:
        return True
    return False


def _change_user() -> str:
    """Become a user that owns nothing and that no other child is, so that none can signal or trace another."""
    if os.geteuid() != 0:
        return f"stays user {os.geteuid()}: only root can become another"
    fallback = _UNUSED_ID_FALLBACK + os.getpid() % _UNUSED_ID_FALLBACK_COUNT
    refusal: OSError | None = None
    os.setgroups([])
    for user_id in (_UNUSED_ID_BASE + os.getpid(), fallback):
        if not _is_free(user_id):
            continue
        try:
            os.setresgid(user_id, user_id, user_id)
            os.setresuid(user_id, user_id, user_id)
        except OSError as error:
            refusal = error
            continue
        return f"user {user_id}"
    raise refusal or OSError(errno.EEXIST, "no unused user id")


def _drop_capabilities() -> str:
    """Empty the bounding and ambient sets, while there is the right to; `_clear_capabilities` empties the others."""
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    capability = 0
    while _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
        # An ordinary user may not; then the set bounds nothing that no_new_privs does not.
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        capability += 1
    return f"{capability} capabilities"


def _clear_capabilities() -> str:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _checked(_libc.capset(header, nothing), "capset")
    return "effective, permitted and inheritable sets empty"


def _die_with(parent_pid: int) -> str:
    """Hide from tracing and /proc, and die with the parent's thread, also when it died a moment ago."""
    _prctl(_PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE")
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, "PR_SET_PDEATHSIG")
    if os.getppid() != parent_pid:
        raise SystemExit(0)
    return "not dumpable, dies with its parent"


def _own_session() -> str:
    if os.getsid(0) != os.getpid():
        os.setsid()
    return "own session, no terminal"


def _no_new_privileges() -> str:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS")
    return "set"


def _filter_calls(write_descriptors: tuple[int, ...], *, moves_cpu_limit: bool) -> str:
    lower_limit(resource.RLIMIT_NPROC, 0)
    seccomp.install(write_descriptors, moves_cpu_limit=moves_cpu_limit)
    return "list of allowed calls, all threads"


def _lock_files(folder: Path | None) -> str:
    version = landlock.restrict(folder)
    return f"ABI {version}, " + ("one folder to read" if folder else "no files")


def probe() -> tuple[JailLayer, ...]:
    """Say what this kernel and this user offer, without entering anything: for a look before the first child starts.

    What a child then reports of itself is the truth; this only asks.
    """
    namespaces = Path("/proc/sys/user/max_user_namespaces")

    def network() -> str:
        if os.geteuid() == 0:
            return "root may have the privilege"
        if not namespaces.exists() or int(namespaces.read_text(encoding="ascii")) == 0:
            raise OSError(errno.EPERM, "user namespaces are switched off")
        return "by a user namespace"

    def user() -> str:
        return "root becomes an unused id" if os.geteuid() == 0 else "not root: stays"

    return (
        _layer("network", network, essential=False),
        _layer("user", user),
        _layer("landlock", lambda: f"ABI {landlock.abi_version()}"),
        _layer("seccomp", seccomp.check_available),
    )


def enter(
    mode: JailMode,
    *,
    parent_pid: int,
    readable_folder: Path | None,
    write_descriptors: tuple[int, ...],
    moves_cpu_limit: bool,
    address_space_bytes: int,
    start_threads: Callable[[], None],
) -> tuple[JailLayer, ...]:
    """Lock this process in for good and return what holds.

    Call it with one thread, everything imported. `start_threads` runs at the only moment at which a thread is bound by
    every layer and can still be started. JailError in mode `required` when an essential layer is missing.
    """
    if mode is JailMode.OFF:
        start_threads()
        return (JailLayer(name="jail", active=False, essential=True, detail="switched off by SPELL_JAIL=off"),)
    layers = [
        _layer("session", _own_session),
        # Sockets are refused by seccomp too, and many containers forbid namespaces: worth having, not essential.
        _layer("network", _isolate_network, essential=False),
        _layer("limits", lambda: limit_resources(address_space_bytes)),
        _layer("bounding set", _drop_capabilities),
        _layer("user", _change_user),
        _layer("capabilities", _clear_capabilities),
        _layer("process", lambda: _die_with(parent_pid)),
        _layer("no_new_privs", _no_new_privileges),
        _layer("landlock", lambda: _lock_files(readable_folder)),
    ]
    start_threads()
    layers.append(_layer("seccomp", lambda: _filter_calls(write_descriptors, moves_cpu_limit=moves_cpu_limit)))
    missing = [f"{layer.name} ({layer.detail})" for layer in layers if layer.essential and not layer.active]
    if missing and mode is JailMode.REQUIRED:
        message = f"the jail is incomplete: {', '.join(missing)}; use a kernel that offers it or set SPELL_JAIL=auto"
        raise JailError(message)
    return tuple(layers)


def _layer(name: str, step: Callable[[], str], *, essential: bool = True) -> JailLayer:
    try:
        detail = step()
    except OSError as error:
        return JailLayer(name=name, active=False, essential=essential, detail=str(error))
    return JailLayer(name=name, active=True, essential=essential, detail=detail)
