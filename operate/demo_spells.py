"""The example spells the demo publishes: the modules of `spells/built`, and one built here from its source."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from spell.cli import CommandError

ROOT: Final = Path(__file__).resolve().parent.parent
SPELLS: Final = ROOT / "spells"
# Small and in C: its compiler is one package, and once that has compiled its own library it takes a second.
FROM_SOURCE: Final = "text-statistics"
NAMES: Final = ("hello", "echo", "text-statistics", "csv-to-json", "markdown-to-html", "thumbnail")
# The first build on a machine compiles the C library as well.
BUILD_SECONDS_MAX: Final = 300.0
# Run by path in the checkout: the examples are no part of what is installed.
_BUILD: Final = """
import sys
from spells.build import RECIPES, build
(recipe,) = [recipe for recipe in RECIPES if recipe.name == sys.argv[1]]
sys.stdout.buffer.write(build(recipe))
"""


class BuildFailedError(Exception):
    """A spell could not be built here; the message says why and how to see more."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A spell ready to be published."""

    name: str
    version: str
    module: bytes
    made: str
    """Where the module comes from, for people."""


class _Manifest(msgspec.Struct, frozen=True):
    version: str


def can_build() -> bool:
    """Tell whether the C compiler is installed."""
    return importlib.util.find_spec("ziglang") is not None


def shipped(name: str) -> Example:
    """Return an example as it lies in the checkout. Raises CommandError where there is no checkout."""
    module = SPELLS / "built" / f"{name}.wasm"
    try:
        manifest = msgspec.json.decode((SPELLS / name / "spell.json").read_bytes(), type=_Manifest)
        return Example(name=name, version=manifest.version, module=module.read_bytes(), made="shipped")
    except FileNotFoundError as error:
        message = f"{error.filename} is missing: the demo needs a checkout of the repository; run it there"
        raise CommandError(message) from error


def built(name: str) -> Example:
    """Compile an example from its source. Raises BuildFailedError with what the compiler said."""
    try:
        done = subprocess.run(  # noqa: S603 the program is the constant above, its argument one of NAMES
            [sys.executable, "-c", _BUILD, name],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=BUILD_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{name} was not built within {BUILD_SECONDS_MAX:.0f} s; try `make spells`"
        raise BuildFailedError(message) from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        message = f"{name} could not be built: {said[-1] if said else 'no reason given'}; try `make spells`"
        raise BuildFailedError(message)
    return msgspec.structs.replace(shipped(name), module=done.stdout, made="built from C")
