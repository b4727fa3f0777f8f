"""Mutation testing of the SQL that money goes through: `make mutants [ARGS="--only NAME"]`.

Each mutant is run against the tests of tests/domain that use its query, on a Postgres of its own in memory. Prints
the score and every survivor that `explained.py` does not explain. Exit code 0 when the score is SCORE_MIN_PERCENT or
more and none is unexplained.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psycopg

from domain.store.queries import load
from local.postgres import Postgres
from migrations.runner import migrate
from tests.mutants.explained import EXPLAINED
from tests.mutants.mutate import Mutant, mutants

REPOSITORY: Final = Path(__file__).resolve().parents[2]
MODULES: Final = ("admission", "settlement")
TESTS: Final = ("tests/domain/flow", "tests/domain/store", "tests/domain/test_money_machine.py")
SCORE_MIN_PERCENT: Final = 90
# A mutant that hangs is noticed: no statement of ours runs for longer than two seconds.
SECONDS_MAX: Final = 600
# Nothing is kept of these databases.
FORGETFUL: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_PARAMETER: Final = re.compile(r"%\((\w+)\)[sb]")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", default="", help="only mutants whose name contains this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--notes", type=Path, help="which tests ask which query: read if it is there, else written")
    options = parser.parse_args(arguments)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="spell-mutants-", dir=memory) as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres may run under another id
        postgres = Postgres(folder / "postgres", settings=FORGETFUL)
        postgres.start()
        try:
            return _run(folder, postgres.database_url("postgres"), postgres.url, options)
        finally:
            postgres.kill()


def _run(folder: Path, server_url: str, database_url: str, options: argparse.Namespace) -> int:
    asyncio.run(migrate(database_url))
    chosen, refused = _valid([mutant for mutant in every_mutant() if options.only in mutant.name], database_url)
    _say(f"{len(chosen)} mutants; {refused} more were no SQL. First the tests without any ...")
    notes = options.notes or folder / "queries.json"
    if not notes.exists():
        done = _pytest(server_url, TESTS, {"QUERIES_FILE": str(notes), "QUERIES_OF": ",".join(MODULES)})
        if done.returncode != 0:
            _say(done.stdout)
            return 1
    tests_of: dict[str, list[str]] = json.loads(notes.read_text(encoding="utf-8"))
    count: Counter[str] = Counter()

    def survives(item: tuple[int, Mutant]) -> tuple[Mutant, bool]:
        number, mutant = item
        file = folder / f"mutant-{number}.sql"
        file.write_text(mutant.text, encoding="utf-8")
        # What is written for the statements first: most mistakes end there.
        tests = sorted(
            tests_of.get(f"{mutant.module}.{mutant.query}", []), key=lambda test: "test_statements" not in test
        )
        if not tests:
            return mutant, True
        planted = {"MUTANT": f"{mutant.module}.{mutant.query}={file}"}
        try:
            return mutant, _pytest(server_url, ("-x", *tests), planted).returncode == 0
        except subprocess.TimeoutExpired:
            return mutant, False

    unexplained = 0
    with ThreadPoolExecutor(options.jobs) as threads:
        for mutant, survived in threads.map(survives, enumerate(chosen)):
            verdict = "explained" if survived and mutant.name in EXPLAINED else "SURVIVED" if survived else "killed"
            count[verdict] += 1
            unexplained += verdict == "SURVIVED"
            _say(f"[{count.total():3}/{len(chosen)}] {verdict:9} {mutant.name}")
    score = 100 * count["killed"] / max(1, len(chosen) - count["explained"])
    _say(f"{len(chosen)} mutants: {count['killed']} killed, {count['explained']} explained, {unexplained} neither.")
    _say(f"Score {score:.1f} % of those that can be noticed.")
    return 0 if score >= SCORE_MIN_PERCENT and not unexplained else 1


def every_mutant() -> list[Mutant]:
    """Return all mutants of MODULES, in order of place."""
    return [
        mutant
        for module in MODULES
        for query, text in load(str(REPOSITORY / "domain" / "store" / f"{module}.py")).items()
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
                connection.execute(b"PREPARE mutant AS " + text.encode(), prepare=False)
            except psycopg.errors.Error:
                continue
            connection.execute(b"DEALLOCATE mutant")
            valid.append(mutant)
    return valid, len(candidates) - len(valid)


def _pytest(
    server_url: str, arguments: Sequence[str], environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "tests.mutants.plugin"]
    whole = {**os.environ, "TEST_DATABASE_URL": server_url, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(
        [*command, *arguments],
        cwd=REPOSITORY,
        env=whole,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
