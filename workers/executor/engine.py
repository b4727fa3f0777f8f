"""The one engine: which WASM is accepted, which machine code is made, and the name of both.

Whatever is set here changes what a cast costs or what an artifact contains, so all of it ends up in `engine_key()`.
"""

import functools
import hashlib
import importlib.metadata
import mmap
import platform
import re
import struct
from pathlib import Path
from typing import Final

import msgspec
import wasmtime

from domain.model.limits import KIB, MEMORY_BYTES_MAX, MIB, TABLE_ELEMENTS_MAX
from workers.executor.capi import LIBRARY_PATH, use_pool

# Proposals a published module may use. LLVM emits reference types, and the engine aborts the process without them.
PROPOSALS_ON: Final = (
    "wasm_bulk_memory",
    "wasm_multi_value",
    "wasm_reference_types",
    "wasm_simd",
)
# Everything else: each is attack surface, nondeterminism (threads, relaxed SIMD) or a second way to hold memory.
PROPOSALS_OFF: Final = (
    "gc_support",
    "shared_memory",
    "wasm_component_model",
    "wasm_component_model_implements",
    "wasm_component_model_map",
    "wasm_custom_page_sizes",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_relaxed_simd",
    "wasm_stack_switching",
    "wasm_tail_call",
    "wasm_threads",
    "wasm_wide_arithmetic",
)

# 512 KiB of guest stack: far more than compiled C, Go or CPython use, and far less than the child's own 8 MiB.
GUEST_STACK_BYTES_MAX: Final = 512 * 1024

_SETTINGS: Final[tuple[tuple[str, bool | int | str], ...]] = (
    ("strategy", "cranelift"),
    ("cranelift_opt_level", "speed"),
    ("cranelift_nan_canonicalization", True),
    ("consume_fuel", True),
    ("epoch_interruption", True),
    # One thread compiles, so that the CPU limit of the compile program counts real time, and no pool outlives a start.
    ("parallel_compilation", False),
    ("max_wasm_stack", GUEST_STACK_BYTES_MAX),
    # The whole 4 GiB are reserved, so a view of a guest's memory never moves while a host function writes to it.
    ("memory_may_move", False),
    *((name, True) for name in PROPOSALS_ON),
    *((name, False) for name in PROPOSALS_OFF),
)


# An ordinary module has one table; a few more are harmless, and each is bounded by TABLE_ELEMENTS_MAX.
TABLES_MAX: Final = 4

# What a child reserves once instead of mapping and unmapping it for every cast (76 to 52 µs a cast, measured). One
# guest at a time; nothing of it stays: the engine clears what it kept resident before the next one gets it.
_POOL: Final = {
    "total_memories": 1,
    "total_core_instances": 1,
    "total_tables": TABLES_MAX,
    "total_stacks": 1,
    "max_tables_per_module": TABLES_MAX,
    "table_elements": TABLE_ELEMENTS_MAX,
    "max_memory_size": MEMORY_BYTES_MAX,
    # One reference for each function a module takes the address of: the largest module has room for a million.
    "max_core_instance_size": 32 * MIB,
    # Clearing this much is cheaper than giving it back to the kernel and faulting it in again. Beyond it a small guest
    # touches a page or three of what it grew by, and pages that are not there make growing cheaper too: `hello` took
    # 50 us with a MiB and takes 44, other small spells likewise, and Go's, which touches 3 MiB, the same (measured).
    "linear_memory_keep_resident": 256 * KIB,
    "table_keep_resident": 64 * KIB,
}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A written CPU baseline: an artifact compiled on one host loads on every other that reaches it."""

    triple: str
    label: str
    flags: tuple[str, ...]


# x86-64-v3 (Haswell 2013, Zen 2017) is what every cloud offers; cmpxchg16b and lzcnt belong to it.
_X86_64_V3: Final = Target(
    triple="x86_64-unknown-linux-gnu",
    label="x86_64-v3",
    flags=(
        *("has_sse3", "has_ssse3", "has_cmpxchg16b", "has_sse41", "has_sse42", "has_popcnt"),
        *("has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2", "has_lzcnt"),
    ),
)
# Plain ARMv8.0-A: the oldest machines still for rent have nothing more.
_AARCH64: Final = Target(triple="aarch64-unknown-linux-gnu", label="aarch64-v8.0", flags=())

_TARGETS: Final = {"x86_64": _X86_64_V3, "aarch64": _AARCH64}


class EngineError(Exception):
    """This host, or this wasmtime, cannot run what the platform promises; the message says why."""


def set_option(config: wasmtime.Config, name: str, *, value: bool | int | str) -> None:
    """Set one property of `wasmtime.Config`, and refuse a name that is not one.

    `Config` is an ordinary Python object: assigning to a misspelt name makes an attribute and changes nothing.
    """
    if not isinstance(getattr(type(config), name, None), property):
        message = (
            f"wasmtime {importlib.metadata.version('wasmtime')} has no setting {name!r}: it would be ignored in silence"
        )
        raise EngineError(message)
    setattr(config, name, value)


def host_target() -> Target:
    """Return the baseline of this machine's architecture, or raise EngineError when there is none."""
    machine = platform.machine()
    target = _TARGETS.get(machine)
    if target is None:
        message = f"no CPU baseline is written down for {machine!r}; known are {', '.join(sorted(_TARGETS))}"
        raise EngineError(message)
    return target


def make_engine(*, pooled: bool = False) -> wasmtime.Engine:
    """Return a new engine with the platform's settings. A process makes one.

    A `pooled` engine runs one guest at a time and reserves its room once; artifacts and `engine_key` are the same.
    """
    config = wasmtime.Config()
    for name, value in _SETTINGS:
        set_option(config, name, value=value)
    target = host_target()
    config.target = target.triple
    for flag in target.flags:
        config.cranelift_flag_enable(flag)
    if pooled:
        use_pool(config, _POOL)
    return wasmtime.Engine(config)


@functools.cache
def engine_version() -> str:
    """Return the version of the engine inside the shared library, like "50.0.0".

    The Python package has its own version (the wheel 50.0.1 carries engine 50.0.0), and an artifact names only the
    major one, so it is read where the library itself prints it: in the text of its bug report.
    """
    with Path(LIBRARY_PATH).open("rb") as library, mmap.mmap(library.fileno(), 0, access=mmap.ACCESS_READ) as image:
        end = image.find(b"This is a bug in Wasmtime")
        match = re.search(rb"version: (\d+\.\d+\.\d+)\n\n$", image[max(0, end - 64) : end]) if end >= 0 else None
    if match is None:
        message = "the shared library of wasmtime does not name its version where it used to: read engine.py again"
        raise EngineError(message)
    return match[1].decode("ascii")


def _engine_section(artifact: bytes) -> bytes:
    """Return the ELF section `.wasmtime.engine`: all settings that the engine compares before it loads an artifact."""
    section_offset = struct.unpack_from("<Q", artifact, 0x28)[0]
    entry_bytes, count, names_index = struct.unpack_from("<HHH", artifact, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", artifact, section_offset + entry_bytes * n) for n in range(count)]
    names_offset = sections[names_index][4]
    for name, _, _, _, offset, size in sections:
        if artifact[names_offset + name :].startswith(b".wasmtime.engine\0"):
            return artifact[offset : offset + size]
    message = "a compiled module no longer holds the section .wasmtime.engine: read engine.py again"
    raise EngineError(message)


def engine_key(engine: wasmtime.Engine) -> str:
    """Return the name of everything an artifact depends on but the module: engine version, target, all flags.

    Like `wasmtime-50.0.0-x86_64-v3-0f1e2d3c4b5a6978`; safe in a file name and in a URL. The last part hashes our
    settings together with the engine's own record of its flags, so a changed default inside wasmtime shows too.
    """
    empty_module = b"\0asm\1\0\0\0"
    section = _engine_section(bytes(wasmtime.Module(engine, empty_module).serialize()))
    settings = "\n".join(f"{name}={value}" for name, value in sorted(_SETTINGS, key=lambda setting: setting[0]))
    flags = hashlib.sha256(settings.encode("ascii") + b"\0" + section).hexdigest()[:16]
    return f"wasmtime-{engine_version()}-{host_target().label}-{flags}"
