"""Makes each planted fault in a copy of the tree and expects its tests to fail: `make faults [ARGS="NAME ..."]`.

The copy is this checkout as it is now, with what is not committed. Exit code 0 when every fault was noticed.
"""

import argparse
import enum
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.planted_faults.fault import REPOSITORY, Fault
from tests.planted_faults.table import FAULTS, PAGE, page

# Tests that are named here take seconds; one that hangs has noticed nothing a person would hear of.
SECONDS_MAX: Final = 240
_TESTS_FAILED: Final = 1
_FAILED: Final = re.compile(r"^FAILED (\S+?)(?:\[.*?\])?(?: - (.*))?$", re.MULTILINE)


class Verdict(enum.StrEnum):
    """What became of a fault. Only `NOTICED` is good."""

    NOTICED = "noticed"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"
    """The tests could not be run at all: the fault is not a mistake but a wreck."""
    HUNG = "HUNG"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict and, in a line, what the tests said."""

    verdict: Verdict
    said: str


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these faults; all when none is named")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(REPOSITORY)} and stop")
    options = parser.parse_args(arguments)
    if options.write:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    unknown = sorted(set(options.names) - {fault.name for fault in FAULTS})
    if unknown:
        parser.error(
            f"there is no fault of this name: {', '.join(unknown)}; they are listed in tests/planted_faults.md"
        )
    chosen = [fault for fault in FAULTS if not options.names or fault.name in options.names]
    with tempfile.TemporaryDirectory(prefix="spell-faults-") as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        return _run_all(tree, chosen)


def _run_all(tree: Path, chosen: Sequence[Fault]) -> int:
    _say(f"{len(chosen)} faults. First their tests without any fault, all of which must pass ...")
    everything = sorted({test for fault in chosen for test in fault.tests})
    try:
        passed, output = _pytest(tree, everything, SECONDS_MAX * len(chosen))
    except subprocess.TimeoutExpired:
        passed, output = 1, "They do not end."
    if passed != 0:
        _say(output)
        _say("The tests fail without any fault: mend that first (make test).")
        return 1
    bad = 0
    for number, fault in enumerate(chosen, start=1):
        started = time.monotonic()
        finding = try_fault(tree, fault)
        bad += finding.verdict is not Verdict.NOTICED
        took = time.monotonic() - started
        _say(f"[{number:3}/{len(chosen)}] {finding.verdict:8} {took:5.1f} s  {fault.name:36} {finding.said[:150]}")
    _say(f"{len(chosen) - bad} of {len(chosen)} faults were noticed.")
    return 1 if bad else 0


def try_fault(tree: Path, fault: Fault) -> Finding:
    """Make the fault in `tree`, run its tests, take it back."""
    before = fault.plant(tree)
    try:
        code, output = _pytest(tree, fault.tests, SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return Finding(verdict=Verdict.HUNG, said=f"no end after {SECONDS_MAX} s")
    finally:
        for path, data in before.items():
            path.write_bytes(data)
    failed = dict(_FAILED.findall(output))
    blind = [test for test in fault.tests if test not in failed]
    if code not in {0, _TESTS_FAILED}:
        return Finding(verdict=Verdict.BROKEN, said=output.strip().splitlines()[-1])
    if blind:
        return Finding(verdict=Verdict.SURVIVED, said=f"not noticed by {', '.join(blind)}")
    return Finding(verdict=Verdict.NOTICED, said=failed[fault.tests[0]])


def _copy(tree: Path) -> None:
    """Copy what belongs to the project, committed or not, without anything git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source = REPOSITORY / name
        if source.is_file():  # listed but deleted in the working tree
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tree / name)


def _pytest(tree: Path, tests: Sequence[str], seconds_max: int) -> tuple[int, str]:
    """Run tests of the copy on its own code; return exit code and output. Raises TimeoutExpired."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-rf", "-p", "no:cacheprovider", *tests]
    environment = {
        **os.environ,
        # Before the installed package, which is the real tree.
        "PYTHONPATH": str(tree),
        # A file that changes twice within a second would be taken from the cache.
        "PYTHONDONTWRITEBYTECODE": "1",
        # Reasons in pytest's summary are cut at the width of the terminal.
        "COLUMNS": "400",
    }
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds_max)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output.decode("utf-8", "replace")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
