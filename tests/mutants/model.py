"""Mutation testing of the pure rules of money: `make model-mutants [ARGS="--only pricing"]`.

Mutmut makes the mistakes, in a copy under .build/mutants and in an environment of its own (mutants.lock); the modules
and the tests it uses are named in pyproject.toml. A test with a database could notice more of them: the rules are pure
so that they can be judged without. Prints every survivor that `explained_model.py` does not explain, and the score.
Exit code 0 when that is SCORE_MIN_PERCENT or more and none is unexplained.
"""

import argparse
import ast
import enum
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final

import msgspec

from tests.mutants.explained_model import EXPLAINED

REPOSITORY: Final = Path(__file__).resolve().parents[2]
BUILD: Final = REPOSITORY / ".build" / "mutants"
LOCKS: Final = ("requirements.lock", "mutants.lock")
# What the rules and their tests import, and the settings of mutmut.
COPIED: Final = ("domain", "gateways", "local", "migrations", "tests", "pyproject.toml")
SCORE_MIN_PERCENT: Final = 90


class Verdict(enum.StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    UNTESTED = "UNTESTED"
    """No test calls its function."""
    EXPLAINED = "explained"
    """It survived, as it must."""
    HUNG = "HUNG"
    """Told from one that is noticed: the machine may have been busy."""


# Mutmut's own exit codes beside pytest's. What is not here ended by a signal, or in a way nobody understands.
_VERDICT_OF: Final = {
    0: Verdict.SURVIVED,
    1: Verdict.KILLED,
    3: Verdict.KILLED,
    5: Verdict.UNTESTED,
    33: Verdict.UNTESTED,
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A mutant, in words that an edit elsewhere does not change, and its end."""

    name: str
    verdict: Verdict


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make model-mutants", description=__doc__)
    parser.add_argument("--only", default="", help="a module: pricing")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    python = _environment()
    tree = _copy()
    chosen = [f"domain.model.{options.only}.*"] if options.only else []
    command = [str(python), "-m", "mutmut", "run", "--max-children", str(options.jobs), *chosen]
    if subprocess.run(command, cwd=tree, check=False).returncode != 0:
        return 1
    return _report(sorted(_outcomes(tree / "mutants"), key=lambda outcome: outcome.name))


def _environment() -> Path:
    """Return the Python of an environment that holds what the locks name."""
    uv, folder = str(REPOSITORY / ".build" / "uv" / "bin" / "uv"), BUILD / "venv"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    locks = [str(REPOSITORY / lock) for lock in LOCKS]
    subprocess.run([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), *locks], check=True)
    return python


def _copy() -> Path:
    """Return a fresh copy of the tree."""
    tree = BUILD / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, tree / name)
    return tree


def _outcomes(mutants: Path) -> Iterator[Outcome]:
    for file in mutants.rglob("*.py.meta"):
        codes: dict[str, int | None] = json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
        functions = _functions(file.with_suffix(""))
        for key, code in codes.items():
            if code is None:  # not among the chosen
                continue
            name = _name(key, functions)
            verdict = _VERDICT_OF.get(code, Verdict.HUNG)
            is_explained = verdict is Verdict.SURVIVED and name in EXPLAINED
            yield Outcome(name=name, verdict=Verdict.EXPLAINED if is_explained else verdict)


def _functions(file: Path) -> dict[str, list[str]]:
    """Return the lines of every function of a mutated module by its name, as Python itself would write them."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: ast.unparse(node).splitlines()[1:] for node in found}


def _name(key: str, functions: dict[str, list[str]]) -> str:
    """Return what the mutant changes where, from `domain.model.pricing.x_charge__mutmut_12`."""
    module, _, mutant = key.removeprefix("domain.model.").partition(".")
    function = mutant.rpartition("__mutmut_")[0]
    before, after = functions[f"{function}__mutmut_orig"], functions[mutant]
    old, new = _changed(" ".join(before).split(), " ".join(after).split())
    place = function.removeprefix("xǁ").removeprefix("x_").replace("ǁ", ".")
    return f"{module}.{place}: `{old}` to `{new}`"


def _changed(before: Sequence[str], after: Sequence[str]) -> tuple[str, str]:
    """Return the words that differ, with one more on either side."""
    begin = _alike(before, after)
    end = _alike(before[begin:][::-1], after[begin:][::-1])
    old, new = (" ".join(words[max(0, begin - 1) : len(words) - max(0, end - 1)]) for words in (before, after))
    return old, new


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many words both begin with."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _report(outcomes: Sequence[Outcome]) -> int:
    for outcome in outcomes:
        if outcome.verdict not in {Verdict.KILLED, Verdict.EXPLAINED}:
            _say(f"{outcome.verdict:9} {outcome.name}")
    count = Counter(outcome.verdict for outcome in outcomes)
    score = 100 * count[Verdict.KILLED] / max(1, count.total() - count[Verdict.EXPLAINED])
    told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(count.items()))
    _say(f"{count.total()} mutants: {told}. Score {score:.1f} % of those that can be noticed.")
    return 0 if score >= SCORE_MIN_PERCENT and not {Verdict.SURVIVED, Verdict.UNTESTED} & set(count) else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
