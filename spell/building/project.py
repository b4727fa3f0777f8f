"""A user's spell as a folder: sources, `spell.json`, and `build/` where the module goes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from spell.building.toolchains import BuildError

MANIFEST_FILE: Final = "spell.json"
BUILD_FOLDER: Final = "build"
EXAMPLES_FOLDER: Final = "examples"
FIRST_VERSION: Final = "0.1.0"

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
# MAJOR.MINOR.PATCH with an optional pre-release, as the platform takes it; it says more when it refuses one.
VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")

# What tells a language, most telling first: a Go project may have C beside it, never the other way round.
_SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    "go": ("go.mod",),
    "rust": ("Cargo.toml", "src/main.rs", "main.rs"),
    "zig": ("main.zig", "src/main.zig"),
    "python": ("main.py",),
    "c": ("*.c", "src/*.c"),
}
LANGUAGES: Final = ("c", "go", "python", "rust", "zig")


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that can be built."""

    folder: Path
    name: str
    version: str
    language: str
    manifest: dict[str, Any]
    """`spell.json` as it was read; the platform knows its fields."""
    manifest_bytes: bytes

    @property
    def target(self) -> Path:
        """Where the build goes. A Python project becomes one program, all others become a module."""
        suffix = ".py" if self.language == "python" else ".wasm"
        return self.folder / BUILD_FOLDER / f"{self.name}{suffix}"

    def examples(self) -> list[Path]:
        """Return the inputs under `examples/`, in order of name; a file `*.out` is what the one before it must give."""
        folder = self.folder / EXAMPLES_FOLDER
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".out")


def load_project(folder: Path, *, language: str | None = None) -> Project:
    """Return the project in `folder`. Raises BuildError that says which file is missing or wrong, and what to do."""
    path = folder / MANIFEST_FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        message = f"there is no {path}: go to a spell's folder, or make one with `spell init --lang c NAME`"
        raise BuildError(message) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise BuildError(message) from error
    try:
        manifest = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not a JSON object ({error}); see docs/write-a-spell.md for its fields"
        raise BuildError(message) from error
    return Project(
        folder=folder,
        name=_text(path, manifest, "name", folder.resolve().name, NAME),
        version=_text(path, manifest, "version", FIRST_VERSION, VERSION),
        language=language or _language(folder),
        manifest=manifest,
        manifest_bytes=raw,
    )


def _text(path: Path, manifest: Mapping[str, Any], field: str, default: str, form: re.Pattern[str]) -> str:
    text: object = manifest.get(field, default)
    if not isinstance(text, str) or form.fullmatch(text) is None:
        what = "lower case letters, digits and inner hyphens" if field == "name" else "a version like 1.2.0"
        message = f'{path}: "{field}" is {text!r}; write {what}'
        raise BuildError(message)
    return text


def _language(folder: Path) -> str:
    for language, signs in _SIGNS.items():
        if any(next(folder.glob(sign), None) is not None for sign in signs):
            return language
    message = (
        f"{folder} has no sources: main.c, main.zig, go.mod, Cargo.toml or main.py belongs beside {MANIFEST_FILE}; "
        "say which language it is with --lang"
    )
    raise BuildError(message)
