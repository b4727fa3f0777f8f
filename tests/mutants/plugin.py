"""Pytest's part of a run against mutants (`-p tests.mutants.plugin`): plants one, or notes which tests ask which query.

MUTANT is `module.query` with the file of its text; QUERIES_FILE is where the notes go.
"""

import importlib
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest


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
    planted = os.environ.get("MUTANT")
    if planted:
        name, _, file = planted.partition("=")
        module, _, query = name.partition(".")
        queries(module)[query] = Path(file).read_bytes()
    if os.environ.get("QUERIES_FILE"):
        for module in os.environ["QUERIES_OF"].split(","):
            store = importlib.import_module(f"domain.store.{module}")
            store._QUERIES = NotedQueries(module, store._QUERIES, _notes)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue] this is what a mutation run is for


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = os.environ.get("QUERIES_FILE")
    if file and session.exitstatus == 0:
        Path(file).write_text(json.dumps({name: sorted(tests - {""}) for name, tests in _notes.items()}))


def queries(module: str) -> dict[str, Any]:
    """Return the queries a store module works with, to be changed in place."""
    return importlib.import_module(f"domain.store.{module}")._QUERIES
