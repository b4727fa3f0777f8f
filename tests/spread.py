"""Pytest's part of `make test` (`-p tests.spread`): how the tests spread over processes, each with its own servers.

A file is never divided, for its tests may share what is slow to start; nor are the folders of WHOLE, whose files share
one platform. What takes longest goes first, so that at the end no process waits long for another.
"""

import gc
import os
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

# Folders whose fixtures have the scope of a package.
WHOLE: Final = ("tests/docs/", "tests/spell/cli/")
# Most of these run the whole platform: minutes, where most files take seconds.
FIRST: Final = (*WHOLE, "tests/system/", "tests/operate/", "tests/scheduler/")


class Spread(LoadScopeScheduling):
    """Gives the next unit, in order of collection, to whichever process is nearly done with what it has."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


def unit(test: str) -> str:
    """Return what this test is part of that one process runs: its file, or a folder of WHOLE."""
    return next((folder for folder in WHOLE if test.startswith(folder)), test.partition("::")[0])


def rank(test: str) -> int:
    """Return the place in FIRST; what is not there comes after it, in the order of collection."""
    return next((number for number, folder in enumerate(FIRST) if test.startswith(folder)), len(FIRST))


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One process where servers are named: each empties the Redis before its tests."""
    named = os.environ.get("TEST_DATABASE_URL") or os.environ.get("TEST_REDIS_URL")
    return 1 if named else None


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Spread:
    config.option.loadscopereorder = False
    return Spread(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        items.sort(key=lambda item: rank(item.nodeid))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported and collected lives until the end, so the collector need not look through it again and again."""
    if hasattr(session.config, "workerinput"):
        gc.freeze()
