"""A project becomes a module with its manifest inside, or a Python project one program."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from spell.building.module import MANIFEST_SECTION, NotAModuleError, manifest_of, with_manifest
from spell.building.project import MANIFEST_FILE, Project
from spell.building.toolchains import (
    C_FLAGS,
    GO_ARGUMENTS,
    GO_ENVIRONMENT,
    RUST_CODEGEN,
    STACK_BYTES,
    ZIG_TARGET,
    BuildError,
    execute,
    go_program,
    rust_compiler,
    user_environment,
    zig_program,
)

_PLAIN: Final = "module.wasm"


def build(project: Project) -> bytes:
    """Return the project's module with `spell.json` inside, or its Python program, and keep it at `project.target`.

    Raises BuildError with what the compiler printed, or with what to install.
    """
    folder = project.target.parent
    try:
        folder.mkdir(exist_ok=True)
        plain = folder / _PLAIN
        plain.unlink(missing_ok=True)
        built = _BUILDERS[project.language](project, plain.resolve())
        plain.unlink(missing_ok=True)
        # Whoever reads the target while it is written sees the old one or the new one.
        partial = project.target.with_suffix(".partial")
        partial.write_bytes(built)
        partial.replace(project.target)
    except OSError as error:
        message = f"{error.filename or folder} cannot be written: {error.strerror}"
        raise BuildError(message) from error
    return built


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that compilers may fill, the XDG one of this user."""
    return Path(environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "spell"


def _sources(project: Project, pattern: str) -> list[str]:
    found = sorted(path for place in (pattern, f"src/{pattern}") for path in project.folder.glob(place))
    if not found:
        message = f"{project.folder} has no {pattern}: put the sources beside {MANIFEST_FILE} or into src/"
        raise BuildError(message)
    # Relative to the folder, so that no path of this machine can reach the module.
    return [path.relative_to(project.folder).as_posix() for path in found]


def _one(project: Project, *names: str) -> str:
    for name in names:
        if (project.folder / name).is_file():
            return name
    message = f"{project.folder} has no {' and no '.join(names)}"
    raise BuildError(message)


def _finish(project: Project, plain: Path) -> bytes:
    module = plain.read_bytes()
    try:
        if manifest_of(module) is not None:
            message = (
                f"the module has a section {MANIFEST_SECTION} already; {MANIFEST_FILE} is what counts: take it out"
            )
            raise BuildError(message)
        return with_manifest(module, project.manifest_bytes)
    except NotAModuleError as error:
        message = f"the compiler made no module: {error}"
        raise BuildError(message) from error


def _build_c(project: Project, plain: Path) -> bytes:
    command = [zig_program(), "cc", *C_FLAGS, *_sources(project, "*.c"), "-o", plain]
    environment = user_environment(cache_folder())
    execute(command, what=project.name, folder=project.folder, environment=environment)
    return _finish(project, plain)


def _build_zig(project: Project, plain: Path) -> bytes:
    main = _one(project, "src/main.zig", "main.zig")
    flags = [*ZIG_TARGET, "-O", "ReleaseSmall", "-fstrip", "--stack", str(STACK_BYTES)]
    command = [zig_program(), "build-exe", main, *flags, f"-femit-bin={plain}"]
    environment = user_environment(cache_folder())
    execute(command, what=project.name, folder=project.folder, environment=environment)
    return _finish(project, plain)


def _build_go(project: Project, plain: Path) -> bytes:
    environment = user_environment(cache_folder(), **GO_ENVIRONMENT)
    command = [go_program(), *GO_ARGUMENTS, "-o", plain, "."]
    execute(command, what=project.name, folder=project.folder, environment=environment)
    return _finish(project, plain)


def _build_rust(project: Project, plain: Path) -> bytes:
    compiler = rust_compiler()
    environment = user_environment(cache_folder(), RUSTC=str(compiler.path))
    if (project.folder / "Cargo.toml").is_file() and compiler.cargo is not None:
        return _build_cargo(project, plain, compiler.cargo, compiler.target)
    main = _one(project, "src/main.rs", "main.rs")
    command = [compiler.path, "--edition", "2021", "--target", compiler.target, *RUST_CODEGEN, main, "-o", plain]
    execute(command, what=project.name, folder=project.folder, environment=environment)
    return _finish(project, plain)


def _build_cargo(project: Project, plain: Path, cargo: Path, target: str) -> bytes:
    """Build with Cargo, which knows the project's crates."""
    rustc = cargo.with_name("rustc")
    out = project.target.parent.resolve() / "cargo"
    environment = user_environment(cache_folder(), RUSTC=str(rustc), CARGO_TARGET_DIR=str(out))
    execute(
        [cargo, "build", "--release", "--quiet", "--target", target],
        what=project.name,
        folder=project.folder,
        environment=environment,
    )
    made = sorted((out / target / "release").glob("*.wasm"))
    if len(made) != 1:
        message = f"Cargo made {len(made)} modules; a spell is one program: leave one binary in Cargo.toml"
        raise BuildError(message)
    made[0].replace(plain)
    return _finish(project, plain)


def _build_python(project: Project, plain: Path) -> bytes:
    """Return the program, which must compile here: no interpreter would take it otherwise."""
    del plain
    main = project.folder / _one(project, "main.py")
    source = main.read_bytes()
    try:
        compile(source, str(main), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        message = f"{main}{'' if line is None else f':{line}'}: {error}"
        raise BuildError(message) from error
    return source


_BUILDERS: Final[Mapping[str, Callable[[Project, Path], bytes]]] = {
    "c": _build_c,
    "go": _build_go,
    "python": _build_python,
    "rust": _build_rust,
    "zig": _build_zig,
}
