"""The fuel of every example spell, written down: an engine that changes one figure is a new price version.

`tests/golden_fuel.json` names module, input and fuel. A new module digest means new figures (`make spells` changed it);
the same digest with other fuel means that prices changed, and the engine must not be shipped under the old price book.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.model.limits import MIB
from domain.model.messages import Outcome
from workers.executor.protocol import ExecuteResult

ROOT = Path(__file__).parents[3]
GOLDEN: list[dict[str, Any]] = json.loads((ROOT / "tests/golden_fuel.json").read_text())


def stdin_of(row: dict[str, Any]) -> bytes:
    if "sample" in row:
        return (ROOT / "spells/samples" / row["sample"]).read_bytes()
    return row["input"].encode()


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row['spell']}-{row.get('sample', 'text')}")
def test_fuel_is_what_it_was(row: dict[str, Any], cast: Callable[..., ExecuteResult]) -> None:
    module = (ROOT / "spells/built" / f"{row['spell']}.wasm").read_bytes()
    assert hashlib.sha256(module).hexdigest() == row["module_sha256"], "the module was rebuilt: measure its fuel anew"
    results = [cast(module, stdin_of(row), fuel=10**10, memory_bytes=128 * MIB) for _ in range(2)]
    assert [result.outcome for result in results] == [Outcome.SUCCEEDED] * 2
    assert [result.fuel for result in results] == [row["fuel"]] * 2


def test_every_example_spell_has_a_figure() -> None:
    assert {row["spell"] for row in GOLDEN} == {path.stem for path in (ROOT / "spells/built").glob("*.wasm")}


def test_sleep_clock_and_randomness_are_the_same_in_c_and_go_on_every_run(cast: Callable[..., ExecuteResult]) -> None:
    for name in ("probe-c", "probe-go"):
        module = (ROOT / "spells/built" / f"{name}.wasm").read_bytes()
        first, second, other = (cast(module, text, fuel=10**10) for text in (b"20", b"20", b"30"))
        assert first.outcome is Outcome.SUCCEEDED, first.message
        assert (first.output, first.fuel) == (second.output, second.fuel)
        assert first.output != other.output, "randomness is seeded by the input too"
