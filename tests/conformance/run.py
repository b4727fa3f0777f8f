"""Runs Dramatiq's own tests on our broker: `make broker-conformance`.

They come from the source distribution of the very version in requirements.lock, are unpacked under .build/ and never
committed. What is left out stands in `deselected.txt`, each with its reason; how many passed is asserted here.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from local.redis import Redis

HERE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = HERE.parents[1]
BUILD: Final = REPOSITORY / ".build" / "conformance"
DESELECTED: Final = HERE / "deselected.txt"
# How many tests of the locked version pass on our broker. A new version of Dramatiq changes it: read what is new.
PASSED: Final = 129
_INI: Final = "[pytest]\ntestpaths = tests\naddopts = -p no:cacheprovider --strict-markers\n"


class ConformanceError(Exception):
    """Dramatiq's tests could not be fetched or did not all run; the text says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Fetch, unpack, run and count. Arguments go to pytest; with any, the count is not asserted."""
    try:
        tests = prepare(*locked())
    except ConformanceError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="spell-conformance-") as folder:
        redis = Redis(Path(folder) / "redis")
        redis.start()
        try:
            passed, code = _run(tests, redis.url, arguments)
        finally:
            redis.stop()
    if arguments or code != 0:
        return code
    sys.stdout.write(f"{passed} of Dramatiq's tests passed on our broker; {len(deselected())} are left out.\n")
    if passed != PASSED:
        sys.stderr.write(
            f"That should have been {PASSED}: find out why, then change PASSED in {Path(__file__).name}.\n"
        )
        return 1
    return 0


def locked() -> tuple[str, tuple[str, ...]]:
    """Return the version and the hashes that requirements.lock names for Dramatiq."""
    text = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    entry = re.search(r"^dramatiq==(\S+) \\\n((?: +--hash=\S+(?: \\)?\n)+)", text, re.MULTILINE)
    if entry is None:
        message = "requirements.lock names no dramatiq==VERSION with hashes: make lock"
        raise ConformanceError(message)
    return entry[1], tuple(re.findall(r"--hash=(\S+)", entry[2]))


def deselected() -> dict[str, str]:
    """Return the node ids that are left out, each with its reason.

    A line is `ID  REASON`, two blanks between; an id without `::` leaves a whole file out.
    """
    lines = DESELECTED.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("  ", 1) for line in lines if line and not line.startswith("#")]
    return {name: reason.strip() for name, reason in pairs}


def prepare(version: str, hashes: Sequence[str]) -> Path:
    """Unpack the tests of `version` with our files beside them and return their folder."""
    archive = BUILD / f"dramatiq-{version}.tar.gz"
    if not archive.exists():
        _fetch(version, hashes)
    root = BUILD / f"dramatiq-{version}"
    if root.exists():
        shutil.rmtree(root)
    with tarfile.open(archive) as opened:
        members = [member for member in opened.getmembers() if member.name.startswith(f"{root.name}/tests/")]
        opened.extractall(BUILD, members, filter="data")
    tests = root / "tests"
    (root / "pytest.ini").write_text(_INI, encoding="utf-8")
    (tests / "__init__.py").touch()
    shutil.copy(HERE / "dramatiq_conftest.py", tests / "conftest.py")
    shutil.copy(HERE / "dramatiq_imports.py", tests / "common.py")
    return tests


def _fetch(version: str, hashes: Sequence[str]) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted = BUILD / "wanted.txt"
    wanted.write_text(f"dramatiq=={version} {' '.join(f'--hash={one}' for one in hashes)}\n", encoding="ascii")
    # .venv has no pip; the environment of the installer does.
    pip = [str(REPOSITORY / ".build" / "uv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    options = ["--quiet", "--no-deps", "--no-binary", "dramatiq", "--require-hashes", "--dest", str(BUILD)]
    done = subprocess.run([*pip, "download", *options, "-r", str(wanted)], check=False)
    if done.returncode != 0:
        message = f"dramatiq {version} could not be fetched as source (see above); run make setup, look at the network"
        raise ConformanceError(message)


def _run(tests: Path, redis_url: str, arguments: Sequence[str]) -> tuple[int, int]:
    left_out = [
        f"--deselect=tests/{name}" if "::" in name else f"--ignore=tests/{name}" for name in sorted(deselected())
    ]
    report = tests.parent / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *left_out, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CONFORMANCE_REDIS_URL": redis_url}
    done = subprocess.run(command, cwd=tests.parent, env=environment, check=False)
    counts = re.search(r'errors="(\d+)" failures="(\d+)" skipped="(\d+)" tests="(\d+)"', report.read_text())
    if counts is None:
        message = f"{report} does not say how many tests ran"
        raise ConformanceError(message)
    errors, failures, skipped, total = map(int, counts.groups())
    return total - errors - failures - skipped, done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
