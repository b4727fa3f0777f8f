"""A program that enters the jail as a child does, tries everything it should not be able to, and says what worked.

`python jail_probe.py MODE FOLDER PARENT_PID` prints one JSON object: probe -> "refused ..." or "ALLOWED".
FOLDER holds `artifact` (readable) and `link` (a symbolic link to /etc/passwd).
"""

# System calls are what is probed, so no library stands between.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH208, PTH211, S103, S606, PLW0108
import ctypes
import errno
import json
import os
import platform
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from workers.executor.jail import ADDRESS_SPACE_BYTES_MAX, enter
from workers.executor.protocol import JailMode

libc = ctypes.CDLL(None, use_errno=True)
X86_64 = platform.machine() == "x86_64"
# Numbers of x86-64; the probe runs where CI runs.
CALLS = {
    "ptrace": 101, "mount": 165, "umount2": 166, "pivot_root": 155, "setns": 308, "bpf": 321, "io_uring_setup": 425,
    "userfaultfd": 323, "keyctl": 250, "add_key": 248, "perf_event_open": 298, "process_vm_readv": 310,
    "init_module": 175, "reboot": 169, "clock_settime": 227, "inotify_init1": 294,
    "pidfd_open": 434, "name_to_handle_at": 303, "shmget": 29, "msgget": 68, "mq_open": 240, "personality": 135,
    "prctl": 157, "seccomp": 317, "landlock_create_ruleset": 444, "tgkill": 234, "clone": 56, "clone3": 435,
    "vfork": 58, "execveat": 322, "sendmsg": 46, "recvmsg": 47, "openat2": 437, "ioctl": 16, "fcntl": 72,
}  # fmt: skip


def call(name: str, *arguments: int) -> None:
    result = libc.syscall(CALLS[name], *[ctypes.c_long(argument) for argument in arguments])
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def start_thread() -> None:
    threading.Thread(target=int).start()


def probes(parent: int) -> dict[str, Callable[[], object]]:
    read, write = os.O_RDONLY, os.O_WRONLY
    return {
        "read /etc/passwd": lambda: os.open("/etc/passwd", read),
        "read /proc/self/environ": lambda: os.open("/proc/self/environ", read),
        "read /proc/1/mem": lambda: os.open("/proc/1/mem", read),
        "read the parent's environment": lambda: os.open(f"/proc/{parent}/environ", read),
        "read a link out of the folder": lambda: os.open("link", read),
        "list /": lambda: os.listdir("/"),
        "list the folder": lambda: os.listdir(),
        "write an artifact": lambda: os.open("artifact", write),
        "read and write an artifact": lambda: os.open("artifact", os.O_RDWR),
        "truncate an artifact": lambda: os.truncate("artifact", 0),
        "create in the folder": lambda: os.open("new", read | os.O_CREAT),
        "create in /tmp": lambda: os.open("/tmp/spell-jail-probe", write | os.O_CREAT),
        "unnamed file": lambda: os.open("/tmp", os.O_RDWR | os.O_TMPFILE),
        "mkdir": lambda: os.mkdir("new"),
        "unlink": lambda: os.unlink("artifact"),
        "rename": lambda: os.rename("artifact", "other"),
        "hard link": lambda: os.link("artifact", "other"),
        "symbolic link": lambda: os.symlink("artifact", "other"),
        "chmod": lambda: os.chmod("artifact", 0o777),
        "chdir": lambda: os.chdir("/"),
        "chroot": lambda: os.chroot("."),
        "write to stderr": lambda: os.write(2, b"x"),
        "internet socket": lambda: socket.socket(socket.AF_INET),
        "unix socket": lambda: socket.socket(socket.AF_UNIX),
        "memory file": lambda: os.memfd_create("x"),
        "socket pair": socket.socketpair,
        "pipe": os.pipe,
        "fork": fork,
        "thread": start_thread,
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "kill the parent": lambda: os.kill(parent, 0),
        "kill everybody": lambda: os.kill(-1, signal.SIGCONT),
        "become root": lambda: os.setuid(0),
        "become root's group": lambda: os.setgid(0),
        "unshare": lambda: os.unshare(os.CLONE_NEWUSER) if hasattr(os, "unshare") else call("setns", 0, 0),
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10)),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
        **{name: lambda name=name: call(name, 0, 0, 0, 0) for name in CALLS if name not in ("clone", "vfork")},
    }


def outcome(probe: Callable[[], object]) -> str:
    try:
        probe()
    except (OSError, RuntimeError, ValueError) as error:
        number = getattr(error, "errno", None)
        return f"refused {errno.errorcode.get(number or 0, error)}"
    return "ALLOWED"


def main(mode: JailMode, folder: Path, parent: int) -> None:
    os.chdir(folder)
    enter(
        mode,
        parent_pid=os.getppid(),
        readable_folder=Path(),
        write_descriptors=(1,),
        moves_cpu_limit=True,
        address_space_bytes=ADDRESS_SPACE_BYTES_MAX,
        start_threads=lambda: None,
    )
    if mode is JailMode.OFF:
        # Only what is harmless outside of a jail, to show that these probes can succeed.
        safe = ("read /etc/passwd", "list /", "internet socket", "socket pair", "pipe", "fork", "thread", "memory file")
        chosen = {name: probe for name, probe in probes(parent).items() if name in safe}
    else:
        chosen = probes(parent)
    results = {name: outcome(probe) for name, probe in chosen.items()}
    results["CONTROL read an artifact"] = outcome(lambda: os.open("artifact", os.O_RDONLY))
    results["CONTROL random bytes"] = outcome(lambda: os.getrandom(8))
    results["CONTROL own CPU limit"] = outcome(
        lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, resource.RLIM_INFINITY))
    )
    results["environment"] = json.dumps(dict(os.environ))
    os.write(1, json.dumps(results).encode())
    os._exit(0)


if __name__ == "__main__":
    main(JailMode(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
