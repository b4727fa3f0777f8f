"""All planted faults, and the page that lists them."""

from itertools import chain
from typing import Final

from tests.planted_faults import (
    client,
    crediting,
    earning,
    erasing,
    exporting,
    ground,
    holding,
    invoicing,
    limiting,
    logging_in,
    paying,
    paying_out,
    permitting,
    promising,
    reconciling,
    sending,
    settling,
    showing,
    signing_in,
    silence,
    statements,
    telling,
    testing,
    wire,
    witnessing,
)
from tests.planted_faults.fault import REPOSITORY, Fault

_PARTS: Final = (
    holding,
    settling,
    crediting,
    earning,
    statements,
    wire,
    invoicing,
    silence,
    ground,
    client,
    telling,
    sending,
    permitting,
    signing_in,
    limiting,
    exporting,
    logging_in,
    witnessing,
    testing,
    paying,
    paying_out,
    promising,
    reconciling,
    erasing,
    showing,
)
FAULTS: Final[tuple[Fault, ...]] = tuple(chain.from_iterable(part.FAULTS for part in _PARTS))
PAGE: Final = REPOSITORY / "tests" / "planted_faults.md"

_HEAD = """# Planted faults

Each row is a mistake somebody could make in the product. `make faults` makes each of them once, in a copy of the tree,
runs the tests of its row, and fails when one of those tests does not notice. `make faults ARGS=NAME` makes one.
`make test` checks that every mistake can still be made and that every named test is there.
Written by `python -m tests.planted_faults.run --write`; the mistakes themselves are in `tests/planted_faults/`.

| fault | where | what it would do | noticed by |
| --- | --- | --- | --- |
"""


def page() -> str:
    """Return the whole page."""
    return _HEAD + "".join(_row(fault) for fault in FAULTS)


def _row(fault: Fault) -> str:
    files = "<br>".join(f"`{file}`" for file in dict.fromkeys(edit.file for edit in fault.edits))
    tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in fault.tests)
    return f"| {fault.name} | {files} | {fault.harm} | {tests} |\n"
