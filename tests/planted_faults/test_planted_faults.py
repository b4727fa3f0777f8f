"""That the planted faults can still be made, without making them; `make faults` makes them."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.planted_faults.fault import REPOSITORY, Edit, Fault, FaultError
from tests.planted_faults.table import FAULTS, PAGE, page

FAULTS_MIN = 25


@cache
def functions_in(file: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_made_and_its_tests_are_there(fault: Fault) -> None:
    texts: dict[str, str] = {}
    for edit in fault.edits:
        text = texts.get(edit.file) or (REPOSITORY / edit.file).read_text(encoding="utf-8")
        texts[edit.file] = edit.planted(text)
        assert not edit.file.startswith("tests/"), "a fault is a mistake in the product"
    for file, text in texts.items():
        if file.endswith(".py"):
            ast.parse(text)
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert name in functions_in(file), f"{test} is gone: name the test that notices {fault.name} now"
    assert fault.tests


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= FAULTS_MIN


def test_the_page_lists_them_all() -> None:
    message = "write it anew: python -m tests.planted_faults.run --write"
    assert PAGE.read_text(encoding="utf-8") == page(), message


@pytest.mark.parametrize(("old", "new"), [("absent", "x"), ("twice", "x"), ("once", "once")])
def test_a_fault_written_for_other_code_says_so(old: str, new: str) -> None:
    with pytest.raises(FaultError, match=r"some\.py"):
        Edit("some.py", old, new).planted("once twice twice")


def test_planting_changes_the_files_and_hands_back_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("one two", encoding="utf-8")
    edits = (Edit("some.py", "one", "1"), Edit("some.py", "two", "2"))
    before = Fault(name="f", harm="h", edits=edits, tests=()).plant(tmp_path)
    assert (tmp_path / "some.py").read_text(encoding="utf-8") == "1 2"
    assert before == {tmp_path / "some.py": b"one two"}
