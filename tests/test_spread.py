"""Which tests stay together when `make test` spreads them over processes."""

from pathlib import Path

import pytest

from tests.spread import FIRST, WHOLE, pytest_xdist_auto_num_workers, rank, unit

ROOT = Path(__file__).parents[1]


def test_a_file_is_one_unit_and_so_is_a_folder_with_one_platform() -> None:
    assert (
        unit("tests/api/test_keys.py::test_a[x::y]")
        == unit("tests/api/test_keys.py::test_b")
        == "tests/api/test_keys.py"
    )
    assert {unit(f"tests/spell/cli/test_{name}.py::test_c") for name in "ab"} == {"tests/spell/cli/"}


def test_whoever_shares_fixtures_of_a_package_stays_together() -> None:
    sharing = {
        f"{path.parent.relative_to(ROOT).as_posix()}/"
        for path in (ROOT / "tests").rglob("conftest.py")
        if 'scope="package"' in path.read_text(encoding="utf-8")
    }
    assert sharing == set(WHOLE), "name the folder in tests/spread.py: each process would start a platform for it"


def test_what_takes_longest_goes_first() -> None:
    assert [folder for folder in FIRST if not (ROOT / folder).is_dir()] == []
    tests = ["tests/api/test_a.py::t", "tests/system/test_b.py::t", "tests/docs/test_c.py::t", "tests/api/test_d.py::t"]
    assert sorted(tests, key=rank) == [tests[2], tests[1], tests[0], tests[3]]


@pytest.mark.parametrize("name", ["TEST_DATABASE_URL", "TEST_REDIS_URL"])
def test_a_server_that_is_named_is_one_processes_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for either in ("TEST_DATABASE_URL", "TEST_REDIS_URL"):
        monkeypatch.delenv(either, raising=False)
    assert pytest_xdist_auto_num_workers() is None
    monkeypatch.setenv(name, "redis://127.0.0.1")
    assert pytest_xdist_auto_num_workers() == 1
