"""The filter run by a small interpreter: what each layer of the jail also refuses must be refused by this one alone."""

import os
import struct

import pytest

from workers.executor.seccomp import build_filter

ALLOW, REFUSE, KILL = 0x7FFF_0000, 0x0005_0001, 0x8000_0000
ARCHITECTURE = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
NAMES = ("openat", "write", "read", "socket", "execve", "clone", "prlimit", "mmap")
NUMBERS = {
    "x86_64": dict(zip(NAMES, (257, 1, 0, 41, 59, 56, 302, 9), strict=True)),
    "aarch64": dict(zip(NAMES, (56, 64, 63, 198, 221, 220, 261, 222), strict=True)),
}


def run(program: bytes, number: int, architecture: int, *arguments: int) -> int:
    """Interpret the four instructions that the filter uses."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *[*arguments, *[0] * 6][:6])
    steps, position, accumulator = list(struct.iter_unpack("<HBBI", program)), 0, 0
    while True:
        code, if_true, if_false, value = steps[position]
        position += 1
        if code == 0x06:
            return value
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
            continue
        holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
        position += if_true if holds else if_false


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def verdict(machine: str, name: str, *arguments: int, moves_cpu_limit: bool = False) -> int:
    program = build_filter(machine, (3,), moves_cpu_limit=moves_cpu_limit)
    return run(program, NUMBERS[machine][name], ARCHITECTURE[machine], *arguments)


def test_opens_only_to_read(machine: str) -> None:
    assert verdict(machine, "openat", 0, 0, os.O_RDONLY | os.O_CLOEXEC) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_RDONLY | os.O_CREAT):
        assert verdict(machine, "openat", 0, 0, flags | os.O_CLOEXEC) == REFUSE


def test_writes_only_to_the_socket(machine: str) -> None:
    assert verdict(machine, "write", 3) == ALLOW
    assert {verdict(machine, "write", descriptor) for descriptor in (0, 1, 2, 4, 2**32 - 1)} == {REFUSE}


def test_moves_only_its_own_cpu_limit_and_only_where_told(machine: str) -> None:
    assert verdict(machine, "prlimit", 0, 0) == REFUSE
    assert verdict(machine, "prlimit", 0, 0, moves_cpu_limit=True) == ALLOW
    assert verdict(machine, "prlimit", 1, 0, moves_cpu_limit=True) == REFUSE
    assert verdict(machine, "prlimit", 0, 7, moves_cpu_limit=True) == REFUSE


def test_the_rest_by_its_name(machine: str) -> None:
    assert {verdict(machine, name) for name in ("read", "mmap")} == {ALLOW}
    assert {verdict(machine, name) for name in ("socket", "execve", "clone")} == {REFUSE}


def test_a_foreign_architecture_is_killed(machine: str) -> None:
    program = build_filter(machine, (3,), moves_cpu_limit=False)
    assert run(program, NUMBERS[machine]["read"], 0x4000_0003) == KILL
    if machine == "x86_64":
        assert run(program, NUMBERS[machine]["read"] | 0x4000_0000, ARCHITECTURE[machine]) == KILL
