"""The compilers that make modules: where they are found, how they are called, and what to do when one is missing.

Zig (which compiles C as well) and Go come as Python packages or from the PATH, Rust from rustup or the distribution.
"""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

# A build takes seconds, the first one of Go's library half a minute; more means that something hangs.
COMPILE_SECONDS_MAX: Final = 300

# What every engine since 2022 has and the platform's engine allows. Pinned here, because the compiler's own idea of
# a generic CPU grows with its version.
ZIG_CPU: Final = "mvp+bulk_memory+mutable_globals+nontrapping_fptoint+sign_ext"
ZIG_TARGET: Final = ("-target", "wasm32-wasi", f"-mcpu={ZIG_CPU}")
# 128 KiB hold deep recursion several times over, and leave the first page of memory to data.
STACK_BYTES: Final = 131_072
C_FLAGS: Final = (
    *ZIG_TARGET,
    "-std=gnu11",
    "-Oz",
    "-flto",
    "-Wall",
    "-Wextra",
    "-fno-sanitize=undefined",
    "-s",
    f"-Wl,-z,stack-size={STACK_BYTES}",
)
GO_ARGUMENTS: Final = ("build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=")
GO_ENVIRONMENT: Final = {"CGO_ENABLED": "0", "GOARCH": "wasm", "GOOS": "wasip1"}
RUST_CODEGEN: Final = (
    *("-C", "opt-level=z", "-C", "lto=fat", "-C", "panic=abort", "-C", "codegen-units=1", "-C", "strip=symbols"),
    *("-C", f"link-arg=-zstack-size={STACK_BYTES}"),
)
# The same platform under its new name (since Rust 1.78) and its old one.
RUST_TARGETS: Final = ("wasm32-wasip1", "wasm32-wasi")

ZIG_FIX: Final = "pip install 'spell-platform[toolchain]', or put `zig` on the PATH"
GO_FIX: Final = "pip install 'spell-platform[toolchain]', or put `go` (1.21 or newer) on the PATH"
RUST_FIX: Final = (
    "rustup target add wasm32-wasip1 (https://rustup.rs), "
    "or on Debian 12: apt-get install rustc libstd-rust-dev-wasm32 lld"
)


class BuildError(Exception):
    """A spell could not be built; the message says why, and what to do."""


class RustCompiler(msgspec.Struct, frozen=True, kw_only=True):
    """A `rustc` that can make modules."""

    path: Path
    target: str
    version: str

    @property
    def cargo(self) -> Path | None:
        """The `cargo` that belongs to it, when there is one: another's may not understand it."""
        beside = self.path.with_name("cargo")
        return beside if beside.is_file() else None


def has_package(package: str) -> bool:
    """Say whether a compiler package (`ziglang` or `go`) is installed."""
    return importlib.util.find_spec(package) is not None


def package_folder(package: str) -> Path:
    """Return the folder of an installed package. Raises BuildError when it is not there."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        message = f"the package `{package}` is not installed: pip install 'spell-platform[toolchain]'"
        raise BuildError(message)
    return Path(found.origin).parent


def zig_program() -> Path:
    """Return Zig: the package's, else the one on the PATH. Raises BuildError."""
    return _program("ziglang", "zig", "zig", ZIG_FIX)


def go_program() -> Path:
    """Return Go: the package's, else the one on the PATH. Raises BuildError."""
    return _program("go", "bin/go", "go", GO_FIX)


def _program(package: str, inside: str, name: str, fix: str) -> Path:
    # A user's own module may have the package's name: only a program in it makes it the compiler.
    packaged = package_folder(package) / inside if has_package(package) else None
    if packaged is not None and packaged.is_file():
        return packaged
    on_path = shutil.which(name)
    if on_path is None:
        message = f"{name} is not installed: {fix}"
        raise BuildError(message)
    return Path(on_path)


@cache
def rust_compilers() -> tuple[RustCompiler, ...]:
    """Return every `rustc` at hand that has the library of a target: the PATH's first, then the distribution's."""
    found: list[RustCompiler] = []
    for path in dict.fromkeys((shutil.which("rustc"), "/usr/bin/rustc")):
        if path is None or not Path(path).is_file():
            continue
        words = said(path, "--version").split()
        for target in RUST_TARGETS:
            library = said(path, "--print", "target-libdir", "--target", target)
            if len(words) > 1 and library and Path(library).is_dir():
                found.append(RustCompiler(path=Path(path), target=target, version=words[1]))
                break
    return tuple(found)


def rust_compiler() -> RustCompiler:
    """Return the first of `rust_compilers`. Raises BuildError."""
    compilers = rust_compilers()
    if not compilers:
        message = f"no Rust compiler here has a WASI target: {RUST_FIX}"
        raise BuildError(message)
    return compilers[0]


def said(*command: str) -> str:
    """Return what a compiler answers to a question, empty when it has no answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS_MAX, check=False)  # noqa: S603  # a compiler and constants
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def execute(command: Sequence[str | Path], *, what: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a compiler with this environment and nothing else. Raises BuildError about `what`, with what was printed."""
    try:
        done = subprocess.run(  # noqa: S603  # a compiler that was found, and a project of the user's own
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILE_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{what} was not compiled within {COMPILE_SECONDS_MAX} s; see what keeps {Path(command[0]).name} busy"
        raise BuildError(message) from error
    except OSError as error:
        message = f"{command[0]} cannot be run ({error.strerror}); install it again"
        raise BuildError(message) from error
    if done.returncode != 0:
        message = f"{what} does not compile:\n{done.stdout}{done.stderr}"
        raise BuildError(message)


def user_environment(cache_folder: Path, **settings: str) -> dict[str, str]:
    """Return the caller's environment with `settings`, and places for caches where it names none."""
    zig = str(cache_folder / "zig")
    defaults = {"ZIG_GLOBAL_CACHE_DIR": zig, "ZIG_LOCAL_CACHE_DIR": zig}
    if "HOME" not in os.environ:
        defaults |= {"GOCACHE": str(cache_folder / "go"), "GOPATH": str(cache_folder / "go-path")}
    return {**defaults, **os.environ, **settings}
