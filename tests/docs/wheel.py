"""What a user gets: a Python that has the wheel, what the wheel says it needs, and nothing else."""

import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def install_wheel(folder: Path) -> Path:
    """Build the wheel, install it with its base dependencies into a new environment, and return that one's Python."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (metadata,) = site.glob("spell_platform-*.dist-info")
    for name in _dependencies(PathDistribution(metadata).requires or []):
        for file in distribution(name).files or []:
            if ".." not in file.parts:  # programs
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    return folder / "venv" / "bin" / "python"


def _dependencies(requirements: list[str]) -> Iterator[str]:
    """Yield the names of all that is installed for these requirements, without extras."""
    waiting, seen = [Requirement(text) for text in requirements], set[str]()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in seen or (wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        yield name
        waiting += [Requirement(text) for text in distribution(name).requires or []]
