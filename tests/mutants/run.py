"""Mutation testing of the SQL that money goes through: `make mutants [ARGS="--only NAME"]`.

Each mutant is run against the tests of tests/domain that use its query, on a Postgres of its own in memory, in a
process forked from one that has imported everything. Prints every survivor that `explained.py` does not explain, and
the score. Exit code 0 when that is SCORE_MIN_PERCENT or more and none is unexplained.
"""

import argparse
import asyncio
import enum
import importlib
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domain.store import queries
from local.postgres import Postgres
from local.servers import Servers
from migrations.runner import migrate
from tests.mutants.explained import EXPLAINED
from tests.mutants.mutate import Mutant, mutants
from tests.servers import TestDatabases

REPOSITORY: Final = Path(__file__).resolve().parents[2]
MODULES: Final = ("admission", "settlement", "books", "credit_grants", "earned")
# Of other files these alone: what is counted and bounded there hangs on what the ones above leave to it.
QUERIES: Final = frozenset({"identity.key_update", "usage.usage_count"})
FILES: Final = (*MODULES, *sorted({name.partition(".")[0] for name in QUERIES}))
TESTS: Final = (
    *("tests/domain/flow", "tests/domain/store"),
    *("tests/domain/test_credit_machine.py", "tests/domain/test_money_machine.py"),
)
FIRST: Final = tuple(
    f"tests/domain/store/test_{name}.py" for name in ("statements", "locks", "books", "credit_grants", "earned")
)
SCORE_MIN_PERCENT: Final = 90
# A mutant that hangs is told from one that is noticed, and does not count as killed.
SECONDS_MAX: Final = 1_800
ROUNDS_MAX: Final = 3
# Nothing is kept of these databases.
FORGETFUL: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_OPTIONS: Final = ("-q", "-x", "--tb=line", "-p", "no:cacheprovider", "-p", "tests.mutants.plugin")
_PARAMETER: Final = re.compile(r"%\(([\w.]+)\)[sb]")
_FORK: Final = multiprocessing.get_context("fork")


class HungError(BaseException):
    """Past pytest and whoever else catches exceptions of tests."""


class Verdict(enum.StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    EXPLAINED = "explained"
    """It survived, as it must."""
    HUNG = "HUNG"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[""], help="only mutants whose name contains one of these")
    parser.add_argument(
        "--unexplained", action="store_true", help="leave out those explained.py explains: it is quicker"
    )
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="spell-mutants-", dir=memory) as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres may run under another id
        postgres = Postgres(folder / "postgres", settings=FORGETFUL)
        postgres.start()
        try:
            return _run(folder, postgres.database_url("postgres"), options)
        finally:
            postgres.kill()


def _run(folder: Path, server_url: str, options: argparse.Namespace) -> int:
    databases = TestDatabases(Servers(database_url=server_url, redis_url="", postgres=None, redis=None))
    planner_url, template_url = databases.create(), databases.create_migrated()
    asyncio.run(migrate(planner_url))
    asked_for = [mutant for mutant in every_mutant() if any(part in mutant.name for part in options.only)]
    left_out = EXPLAINED.keys() if options.unexplained else ()
    chosen, refused = _valid([mutant for mutant in asked_for if mutant.name not in left_out], planner_url)
    _say(f"{len(chosen)} mutants; {refused} more were no SQL. First the tests without any ...")
    os.environ |= {"TEST_DATABASE_URL": server_url, "TEMPLATE_URL": template_url}
    notes, log = folder / "queries.json", folder / "first.log"
    asked = {"QUERIES_FILE": str(notes), "QUERIES_OF": ",".join(FILES)}
    with _FORK.Pool(1) as processes:
        if processes.apply(_pytest, (TESTS, log, asked)) != 0:
            _say(log.read_text(encoding="utf-8"))
            return 1
    # What this process has imported, those forked from it need not.
    pytest.main([*_OPTIONS, "--collect-only", "-qq", *TESTS])
    tests_of: dict[str, list[str]] = json.loads(notes.read_text(encoding="utf-8"))
    # What is put together while a module is imported, nobody is seen asking for: all of the module are asked.
    of_module = {module: _union(tests_of, f"{module}.") for module in FILES}
    killers = folder / "killers"
    killers.touch()
    work = [(one, tests_of.get(f"{one.module}.{one.query}") or of_module[one.module], killers) for one in chosen]
    count: Counter[str] = Counter()
    with _FORK.Pool(options.jobs, maxtasksperchild=1) as processes:
        for mutant, (verdict, test) in zip(chosen, processes.imap(_try, work), strict=True):
            count[verdict] += 1
            _say(f"[{count.total():3}/{len(chosen)}] {verdict:9} {mutant.name}{f'  by {test}' if test else ''}")
    score = 100 * count[Verdict.KILLED] / max(1, len(chosen) - count[Verdict.EXPLAINED])
    told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items()))
    _say(f"{len(chosen)} mutants: {told}. Score {score:.1f} % of those that can be noticed.")
    good = {Verdict.KILLED, Verdict.EXPLAINED}
    return 0 if score >= SCORE_MIN_PERCENT and not set(count) - good else 1


def _union(tests_of: dict[str, list[str]], begin: str) -> list[str]:
    return sorted({test for name, tests in tests_of.items() if name.startswith(begin) for test in tests})


class Watcher:
    """Pytest's plugin that remembers the first test which failed."""

    def __init__(self) -> None:
        self.failed: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid


def _try(item: tuple[Mutant, list[str], Path]) -> tuple[Verdict, str]:
    """Plant the mutant in this process and run its tests; return its end, and the test that noticed it, twice.

    The path is of a file with the names of the tests that noticed others, for all processes.
    """
    mutant, tests, killers = item
    _plant(mutant)
    noticed = Counter(killers.read_text(encoding="utf-8").splitlines())
    # Who noticed most so far, then what is written for the statements: most mistakes end there.
    chosen = sorted(tests, key=lambda test: (-noticed[test], not test.startswith(FIRST)))
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(SECONDS_MAX)
    try:
        # A test that fails once may have failed of the machine: then all are asked again.
        for _ in range(ROUNDS_MAX):
            watcher = Watcher()
            if not chosen or _pytest(chosen, Path(os.devnull), {}, watcher) == 0:
                break
            if watcher.failed and _pytest([watcher.failed], Path(os.devnull), {}) != 0:
                with killers.open("a", encoding="utf-8") as file:
                    file.write(f"{watcher.failed}\n")
                return Verdict.KILLED, watcher.failed
    except HungError:
        return Verdict.HUNG, ""
    return Verdict.EXPLAINED if mutant.name in EXPLAINED else Verdict.SURVIVED, ""


def _plant(mutant: Mutant) -> None:
    """Load the module's queries anew, with this one changed: some are put together while the module is imported."""
    true_load = queries.load

    def load_changed(file: str) -> dict[str, bytes]:
        changed = {mutant.query: mutant.text.encode()} if Path(file).stem == mutant.module else {}
        return true_load(file) | changed

    queries.load = load_changed
    importlib.reload(importlib.import_module(f"domain.store.{mutant.module}"))
    queries.load = true_load


def _pytest(tests: Sequence[str], log: Path, environment: dict[str, str], *plugins: object) -> int:
    """Run tests in this process, whose output goes to `log` from now on."""
    os.environ |= environment
    with log.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    return int(pytest.main([*_OPTIONS, *tests], plugins=plugins))


def _give_up(_number: int, _frame: object) -> None:
    raise HungError


def every_mutant() -> list[Mutant]:
    """Return all mutants of MODULES and QUERIES, in order of place."""
    return [
        mutant
        for module in FILES
        for query, text in queries.load(str(REPOSITORY / "domain" / "store" / f"{module}.py")).items()
        if module in MODULES or f"{module}.{query}" in QUERIES
        for mutant in mutants(module, query, text.decode())
    ]


def _valid(candidates: Sequence[Mutant], database_url: str) -> tuple[list[Mutant], int]:
    """Return those that Postgres can plan, and how many it cannot."""
    valid: list[Mutant] = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        for mutant in candidates:
            text = mutant.text
            for number, name in enumerate(dict.fromkeys(_PARAMETER.findall(text)), start=1):
                text = re.sub(rf"%\({name}\)[sb]", f"${number}", text)
            try:
                connection.execute(b"PREPARE mutant AS " + text.replace("%%", "%").encode(), prepare=False)
            except psycopg.errors.Error:
                continue
            connection.execute(b"DEALLOCATE mutant")
            valid.append(mutant)
    return valid, len(candidates) - len(valid)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
