"""What `spell doctor` looks at on this machine: Python, disk, compilers, the jail and the engine inside it."""

import base64
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Final

from domain.model.limits import MIB
from operate.findings import Finding, problem, warning, well
from workers.executor.advisories import OPEN_ADVISORIES, REVIEWED_ENGINE_VERSION, REVIEWED_ON
from workers.executor.parent import Executor, ExecutorConfig, ExecutorFacts, ExecutorStartError
from workers.executor.protocol import JailLayer, JailMode

# Artifacts of some hundred modules, and the WAL of an hour; below the first, Postgres is about to stop.
DISK_FREE_BYTES_MIN: Final = 1024 * MIB
DISK_FREE_BYTES_LOW: Final = 5 * 1024 * MIB
# The engine is released monthly: a list of its open advisories that is three releases old says little.
REVIEW_DAYS_MAX: Final = 90
_PYTHONS: Final = ((3, 11), (3, 12))
_TOOLCHAINS: Final = (("ziglang", "C and Zig"), ("go", "Go"))
_ANY_KEY: Final = base64.b64encode(bytes(range(32))).decode("ascii")


def examine_python() -> Finding:
    """Look at the Python this program runs on."""
    running = sys.version_info[:2]
    version = ".".join(map(str, sys.version_info[:3]))
    if running in _PYTHONS:
        return well("python", version)
    return problem("python", f"{version} is not supported", "run on Python 3.11 or 3.12; `make setup` finds one")


def examine_disk(folders: Iterable[Path]) -> list[Finding]:
    """Look at the room left where data and artifacts go; a folder that is not made yet counts as its parent."""
    return [_disk(folder) for folder in dict.fromkeys(folder.absolute() for folder in folders)]


def _disk(folder: Path) -> Finding:
    place = next(one for one in (folder, *folder.parents) if one.exists())
    free_bytes = shutil.disk_usage(place).free
    name, detail = f"disk {folder}", f"{free_bytes // MIB:,} MiB free"
    fix = f"free at least {DISK_FREE_BYTES_LOW // MIB:,} MiB there, or put the folder on another disk"
    if free_bytes < DISK_FREE_BYTES_MIN:
        return problem(name, detail, fix)
    return warning(name, detail, fix) if free_bytes < DISK_FREE_BYTES_LOW else well(name, detail)


def examine_toolchains() -> list[Finding]:
    """Look for the compilers that build example spells; the platform itself needs none."""
    fix = "to build spells here: pip install 'spell-platform[toolchain]'"
    return [
        well(f"toolchain {package}", f"for {what}")
        if importlib.util.find_spec(package) is not None
        else warning(f"toolchain {package}", f"not installed: spells in {what} cannot be built here", fix)
        for package, what in _TOOLCHAINS
    ]


def examine_executor(*, jail_required: bool, today: date) -> list[Finding]:
    """Start a sandbox as a worker would, and tell what it says about its jail and its engine."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the child of a worker that is root is another user
        executor = Executor(ExecutorConfig(artifact_folder=Path(folder), verify_key=_ANY_KEY, jail=JailMode.AUTO))
        try:
            facts: ExecutorFacts = executor.start()
        except ExecutorStartError as error:
            fix = "install spell-platform[server] anew; `python -m workers.executor` must start"
            return [problem("sandbox", f"no sandbox comes up: {error}", fix)]
        finally:
            executor.close()
    return [judge_jail(facts.jail, required=jail_required), judge_engine(facts.engine_version, today=today)]


def judge_jail(layers: tuple[JailLayer, ...], *, required: bool) -> Finding:
    """Return what to think of the layers a sandbox reported; `required` as SPELL_JAIL says."""
    notes = tuple(f"{layer.name}: {layer.detail if layer.active else f'missing ({layer.detail})'}" for layer in layers)
    missing = [layer.name for layer in layers if layer.essential and not layer.active]
    if not missing:
        return well("jail", f"all of {sum(layer.essential for layer in layers)} essential layers hold", notes=notes)
    detail = f"missing: {', '.join(missing)}"
    if required:
        fix = "use a kernel that offers it (Linux 5.13 with Landlock and seccomp), or set SPELL_JAIL=auto and accept it"
        return problem("jail", f"{detail}; workers refuse to start", fix, notes=notes)
    fix = "use a kernel that offers it (Linux 5.13 with Landlock and seccomp), then set SPELL_JAIL=required"
    return warning("jail", detail, fix, notes=notes)


def judge_engine(version: str, *, today: date) -> Finding:
    """Return what to think of the engine's version, by the dated list of its open advisories."""
    notes = tuple(
        f"{one.advisory} (fixed in {one.fixed_in}): {one.what}; not here: {one.why_not_here}" for one in OPEN_ADVISORIES
    )
    if version != REVIEWED_ENGINE_VERSION:
        fix = f"install the locked versions, or review the advisories of {version} and renew the list"
        return problem("engine", f"{version}, but the list of advisories is for {REVIEWED_ENGINE_VERSION}", fix)
    detail = f"{version}; {len(notes)} open advisories reviewed on {REVIEWED_ON}, none reaches a cast"
    if (today - date.fromisoformat(REVIEWED_ON)).days > REVIEW_DAYS_MAX:
        return warning("engine", detail, "read the engine's advisories since then and date the list anew", notes=notes)
    return well("engine", detail, notes=notes)
