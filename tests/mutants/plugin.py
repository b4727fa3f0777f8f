"""Pytest's part of a run against mutants (`-p tests.mutants.plugin`): notes which tests ask which query.

QUERIES_FILE is where the notes go, QUERIES_OF the store modules. TEMPLATE_URL is a migrated database for all runs.
"""

import importlib
import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

from tests.servers import TestDatabases


class NotedQueries(dict[str, bytes]):
    """The queries of a module that remember which test asked for them."""

    def __init__(self, module: str, queries: dict[str, bytes], notes: dict[str, set[str]]) -> None:
        super().__init__(queries)
        self._module = module
        self._notes = notes

    def __getitem__(self, name: str) -> bytes:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        self._notes[f"{self._module}.{name}"].add(test)
        return super().__getitem__(name)


_notes: dict[str, set[str]] = defaultdict(set)


def pytest_configure() -> None:
    template = os.environ["TEMPLATE_URL"]
    drop = TestDatabases.drop
    TestDatabases.create_migrated = lambda _databases: template
    TestDatabases.drop = lambda databases, url: None if url == template else drop(databases, url)
    if os.environ.get("QUERIES_FILE"):
        for module in os.environ["QUERIES_OF"].split(","):
            store = importlib.import_module(f"domain.store.{module}")
            store._QUERIES = NotedQueries(module, store._QUERIES, _notes)


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = os.environ.get("QUERIES_FILE")
    if file and session.exitstatus == 0:
        Path(file).write_text(json.dumps({name: sorted(tests - {""}) for name, tests in _notes.items()}))
