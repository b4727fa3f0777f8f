"""A seccomp filter written as BPF by hand: a list of what a cast needs, everything else refused with EPERM.

Refused, not killed: the runtimes below us (glibc, Rust, CPython) try things they can live without, and a refused call
is as far from the kernel as a killed process. A foreign architecture's call numbers, which would dodge the list, kill.
"""

import ctypes
import errno
import platform
import struct
from typing import Final

import msgspec

_SET_FILTER: Final = 1
"""SECCOMP_SET_MODE_FILTER."""
_GET_ACTION_AVAILABLE: Final = 2
"""SECCOMP_GET_ACTION_AVAIL."""
_FLAG_ALL_THREADS: Final = 1
"""SECCOMP_FILTER_FLAG_TSYNC: the epoch ticker gets the filter too."""

_RETURN_ALLOW: Final = 0x7FFF_0000
_RETURN_ERRNO: Final = 0x0005_0000
_RETURN_KILL_PROCESS: Final = 0x8000_0000

_LOAD_WORD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_GREATER_EQUAL: Final = 0x35
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

# struct seccomp_data: nr, arch, instruction pointer, six 64-bit arguments (little-endian halves)
_OFFSET_NUMBER: Final = 0
_OFFSET_ARCHITECTURE: Final = 4
_OFFSET_ARGUMENTS: Final = 16

# O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND: what makes an open more than a read.
_OPEN_TO_WRITE: Final = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000
_RLIMIT_CPU: Final = 0
# x32 calls carry this bit and the architecture of x86-64.
_X32_BIT: Final = 0x4000_0000

# Calls a cast needs, by name; all without a look at their arguments.
_ALLOWED: Final = (
    # memory: the guest's, the machine code's (mprotect makes it executable), Python's
    *("brk", "madvise", "mmap", "mprotect", "mremap", "munmap"),
    # the socketpair, and artifacts read from the one folder that Landlock leaves open
    *("close", "fstat", "lseek", "newfstatat", "pread64", "read", "statx"),
    # traps are signals
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"),
    # clocks, locks, sleep of the ticker, randomness of hash seeds
    *("clock_getres", "clock_gettime", "clock_nanosleep", "futex", "getrandom", "getrusage", "sched_yield"),
    *("gettid", "getpid", "membarrier", "restart_syscall", "rseq", "sched_getaffinity", "set_robust_list"),
    *("exit", "exit_group"),
)


class _Machine(msgspec.Struct, frozen=True, kw_only=True):
    audit_architecture: int
    seccomp: int
    numbers: dict[str, int]
    openat: int
    write: int
    prlimit: int
    has_x32: bool


_X86_64: Final = _Machine(
    audit_architecture=0xC000_003E,
    seccomp=317,
    openat=257,
    write=1,
    prlimit=302,
    has_x32=True,
    numbers={
        "brk": 12, "clock_getres": 229, "clock_gettime": 228, "clock_nanosleep": 230, "close": 3, "exit": 60,
        "exit_group": 231, "fstat": 5, "futex": 202, "getpid": 39, "getrandom": 318, "getrusage": 98, "gettid": 186,
        "lseek": 8, "madvise": 28, "membarrier": 324, "mmap": 9, "mprotect": 10, "mremap": 25, "munmap": 11,
        "newfstatat": 262, "pread64": 17, "read": 0, "restart_syscall": 219, "rseq": 334, "rt_sigaction": 13,
        "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_getaffinity": 204, "sched_yield": 24,
        "set_robust_list": 273, "sigaltstack": 131, "statx": 332,
    },
)  # fmt: skip
_AARCH64: Final = _Machine(
    audit_architecture=0xC000_00B7,
    seccomp=277,
    openat=56,
    write=64,
    prlimit=261,
    has_x32=False,
    numbers={
        "brk": 214, "clock_getres": 114, "clock_gettime": 113, "clock_nanosleep": 115, "close": 57, "exit": 93,
        "exit_group": 94, "fstat": 80, "futex": 98, "getpid": 172, "getrandom": 278, "getrusage": 165, "gettid": 178,
        "lseek": 62, "madvise": 233, "membarrier": 283, "mmap": 222, "mprotect": 226, "mremap": 216, "munmap": 215,
        "newfstatat": 79, "pread64": 67, "read": 63, "restart_syscall": 128, "rseq": 293, "rt_sigaction": 134,
        "rt_sigprocmask": 135, "rt_sigreturn": 139, "sched_getaffinity": 123, "sched_yield": 124,
        "set_robust_list": 99, "sigaltstack": 132, "statx": 291,
    },
)  # fmt: skip
_MACHINES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _argument(index: int) -> bytes:
    return _step(_LOAD_WORD, _OFFSET_ARGUMENTS + 8 * index)


def build_filter(machine: str, write_descriptors: tuple[int, ...], *, moves_cpu_limit: bool) -> bytes:
    """Return the program for a machine: writes go to these descriptors only, opens only read.

    With `moves_cpu_limit` a process may also change its own RLIMIT_CPU, and no other limit.
    """
    numbers = _MACHINES[machine]
    allow, refuse = _step(_RETURN, _RETURN_ALLOW), _step(_RETURN, _RETURN_ERRNO | errno.EPERM)
    steps = [
        _step(_LOAD_WORD, _OFFSET_ARCHITECTURE),
        _step(_JUMP_EQUAL, numbers.audit_architecture, 1, 0),
        _step(_RETURN, _RETURN_KILL_PROCESS),
        _step(_LOAD_WORD, _OFFSET_NUMBER),
    ]
    if numbers.has_x32:
        steps += [_step(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1), _step(_RETURN, _RETURN_KILL_PROCESS)]
    for name in _ALLOWED:
        steps += [_step(_JUMP_EQUAL, numbers.numbers[name], 0, 1), allow]
    # openat(folder, path, flags): the third argument
    steps += [_step(_JUMP_EQUAL, numbers.openat, 0, 4), _argument(2)]
    steps += [_step(_JUMP_ANY_BIT, _OPEN_TO_WRITE, 0, 1), refuse, allow]
    if moves_cpu_limit:
        # prlimit64(pid = 0, resource = RLIMIT_CPU, ...)
        steps += [_step(_JUMP_EQUAL, numbers.prlimit, 0, 6), _argument(0), _step(_JUMP_EQUAL, 0, 0, 3)]
        steps += [_argument(1), _step(_JUMP_EQUAL, _RLIMIT_CPU, 0, 1), allow, refuse]
    # write(descriptor, ...): the first
    checks = [step for number in write_descriptors for step in (_step(_JUMP_EQUAL, number, 0, 1), allow)]
    steps += [_step(_JUMP_EQUAL, numbers.write, 0, 1 + len(checks)), _argument(0), *checks, refuse]
    return b"".join(steps)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def check_available() -> str:
    """Ask the kernel whether a filter can refuse with an error number; OSError when there are no filters."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no list of calls is written for {platform.machine()}")
    action = ctypes.c_uint32(_RETURN_ERRNO)
    if _libc.syscall(machine.seccomp, _GET_ACTION_AVAILABLE, 0, ctypes.byref(action)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {errno.errorcode.get(number, number)}")
    return "filters"


def install(write_descriptors: tuple[int, ...], *, moves_cpu_limit: bool) -> None:
    """Put the filter on every thread of this process, for good; needs no_new_privs. OSError says what failed."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no list of calls is written for {platform.machine()}")
    steps = build_filter(platform.machine(), write_descriptors, moves_cpu_limit=moves_cpu_limit)
    program = _Program(len(steps) // 8, steps)
    if _libc.syscall(machine.seccomp, _SET_FILTER, _FLAG_ALL_THREADS, ctypes.byref(program)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {errno.errorcode.get(number, number)}")
