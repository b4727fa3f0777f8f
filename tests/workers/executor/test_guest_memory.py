"""Memory of spells in C: what a short cast allocates must be right, and must not make its memory grow.

Growing costs the host more than a short cast does: `hello` took 35 microseconds when it grew twice and takes 19 without
(2026-11-30).
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from domain.model.messages import Outcome
from spells.build import BUILT, Recipe, compile_c, has_toolchain
from workers.executor.protocol import ExecuteResult

PAGE_BYTES = 65_536
SOURCE = "../tests/spells/allocation.c"


@pytest.mark.skipif(not has_toolchain("ziglang"), reason="the extra `toolchain` (ziglang) is not installed")
def test_blocks_keep_what_is_in_them_however_they_grow(cast: Callable[..., ExecuteResult], tmp_path: Path) -> None:
    module = tmp_path / "allocation.wasm"
    recipe = Recipe(name="allocation", folder="", compile=compile_c, sources=(SOURCE, "abi/spell.c"))
    compile_c(recipe, module)
    result = cast(module.read_bytes(), fuel=10**10)
    assert (result.outcome, result.output, result.log) == (Outcome.SUCCEEDED, b'"whole"', b"")


@pytest.mark.parametrize("name", ["csv-to-json", "echo", "hello", "markdown-to-html", "text-statistics"])
def test_a_short_cast_does_not_grow_its_memory(name: str, cast: Callable[..., ExecuteResult]) -> None:
    result = cast((BUILT / f"{name}.wasm").read_bytes(), b'"Ada"', fuel=10**6)
    assert (result.outcome, result.memory_bytes_peak) == (Outcome.SUCCEEDED, 3 * PAGE_BYTES)
