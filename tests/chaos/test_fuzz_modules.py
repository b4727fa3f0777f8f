"""Damaged modules: `make chaos FUZZ_MODULES=100000 ARGS=tests/chaos/test_fuzz_modules.py` is the long run."""

import os
import secrets
from pathlib import Path

from tests.chaos.damage import DAMAGES, Seeds, damaged
from tests.chaos.fuzz_modules import Fuzz

# About a hundred a second on one core: a run of ten minutes spends few of its seconds here.
MODULES_A_MINUTE = 100
MODULES = int(os.environ.get("FUZZ_MODULES") or max(300, MODULES_A_MINUTE * float(os.environ.get("MINUTES", "10"))))


def chosen_seed() -> str:
    asked = os.environ.get("SEED", "random")
    return secrets.token_hex(4) if asked in {"", "random"} else asked


def test_no_damaged_module_breaks_the_compile_program_or_the_executor(tmp_path: Path) -> None:
    with Fuzz(tmp_path, chosen_seed()) as fuzz:
        fuzz.run(MODULES)
        print(f"\n{fuzz.report()}")  # noqa: T201 the person who waits reads it
    assert not fuzz.violations, fuzz.report()
    assert fuzz.refused.total() + fuzz.cast.total() == MODULES
    # Where nothing was refused or nothing ran, nothing was tried.
    assert fuzz.refused.total() > MODULES // 10
    assert fuzz.cast.total() > MODULES // 50


def test_the_same_seed_makes_the_same_modules() -> None:
    seeds = Seeds()
    modules = [damaged(seeds, "7", number) for number in range(20 * len(DAMAGES))]
    assert modules == [damaged(Seeds(), "7", number) for number in range(len(modules))]
    assert len(set(modules)) > len(modules) * 9 // 10
