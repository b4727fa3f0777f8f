"""Rules of style that no linter has. A message says what to do instead."""

import ast
import gc
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("api", "domain", "gateways", "local", "migrations", "operate", "scheduler", "spell", "workers")

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
PACKAGE_DOCSTRING_LINES_MAX = 10
DECISION_LINES_MAX = 30

EMPTY_NAMES = re.compile(r"(^|_)(utils?|helpers?|commons?|managers?|misc)(_|$)")
# Written in two halves, so that this file does not break its own rule.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")

# Where the clock may be read. Everything else gets `now` as an argument, so that a test can choose it.
CLOCK_EDGES = {
    "api": "a request happens now",
    "gateways": "logs and outgoing requests carry the time they were made",
    "local": "stand-ins keep their own time, as the services they stand in for do",
    "operate": "a command is run now",
    "scheduler": "it is the clock",
    "spell": "a program on the user's machine",
    "workers": "times of a run are measured where it runs; they are shown and decide nothing",
}
CLOCK_CALLS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
    ("uuid", "uuid1"),
}

# What domain may import beside the standard library, and where.
DOMAIN_MAY_IMPORT = {"domain": ("domain",), "msgspec": ("domain",), "psycopg": ("domain/store",)}
DOMAIN_MAY_IMPORT["psycopg_pool"] = DOMAIN_MAY_IMPORT["psycopg"]
# What api and scheduler may know of workers.
WORKERS_SHOWS = {"workers.broker", "workers.keys"}

MONEY = re.compile(r"(^|_)(micros|cents)(_|$)")


@cache
def tracked() -> tuple[Path, ...]:
    """Return every file of the repository that is text, generated ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return tuple(path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192])


def python_files(*folders: str) -> list[Path]:
    roots = tuple(ROOT / folder for folder in folders)
    return [path for path in tracked() if path.suffix == ".py" and any(path.is_relative_to(root) for root in roots)]


@pytest.fixture(scope="module", autouse=True)
def _trees_are_no_garbage() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]  # pytest calls it
    """A million nodes that live until the end: to look through them again and again takes longer than to make them."""
    gc.disable()
    yield
    tree_of.cache_clear()
    gc.enable()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def where(path: Path, line: int | None = None) -> str:
    name = path.relative_to(ROOT).as_posix()
    return name if line is None else f"{name}:{line}"


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the dotted names a file imports, with the line."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def everything() -> list[Path]:
    return python_files(*CODE, "tests", "bench", "spells")


def test_files_fit_a_reading() -> None:
    long = [
        f"{where(path)} has {lines} lines; split it by what its parts are for, at most {FILE_LINES_MAX} each"
        for path in everything()
        if (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX
    ]
    assert long == []


def test_functions_fit_a_screen() -> None:
    long: list[str] = []
    for path in everything():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long.append(
                        f"{where(path, node.lineno)} {node.name} has {lines} lines; keep the control flow in it and "
                        f"move the steps out, at most {FUNCTION_LINES_MAX} lines"
                    )
    assert long == []


def test_names_of_modules_say_something() -> None:
    parts = {(path, part) for path in everything() for part in path.relative_to(ROOT).with_suffix("").parts}
    empty = [
        f"{where(path)}: `{part}` says nothing; name it for what it does"
        for path, part in sorted(parts)
        if EMPTY_NAMES.search(part)
    ]
    assert empty == []


def test_imports_stand_at_the_top() -> None:
    deferred: list[str] = []
    for path in everything():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                deferred += [
                    f"{where(path, inner.lineno)}: import at the top of the file; a cycle means that a part is in the "
                    "wrong layer"
                    for inner in ast.walk(node)
                    if isinstance(inner, ast.Import | ast.ImportFrom)
                ]
    assert deferred == []


def test_each_package_states_its_rule_in_a_few_lines() -> None:
    wrong: list[str] = []
    for path in python_files(*CODE):
        if path.name == "__init__.py":
            docstring = ast.get_docstring(tree_of(path))
            if docstring is None or len(docstring.splitlines()) > PACKAGE_DOCSTRING_LINES_MAX:
                wrong.append(
                    f"{where(path)}: state what the package is for and who may use it, in a docstring of at most "
                    f"{PACKAGE_DOCSTRING_LINES_MAX} lines"
                )
    assert wrong == []


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for path in python_files(*CODE)}
    missing = [f"{where(folder)}/ needs an __init__.py" for folder in folders if not (folder / "__init__.py").exists()]
    assert missing == []


def test_fixtures_of_a_package_end_with_it() -> None:
    asked = [path for path in python_files("tests") if '(scope="package")\n' in path.read_text()]
    lasting = [
        f"{where(path.parent)}/ needs an __init__.py, or its package scope ends with the run"
        for path in asked
        if not (path.parent / "__init__.py").exists()
    ]
    assert lasting == []


def test_only_edges_read_the_clock() -> None:
    called: set[tuple[Path, int, str]] = set()
    for path in python_files(*(folder for folder in CODE if folder not in CLOCK_EDGES)):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute):
                called |= {(path, node.lineno, f"{ast.unparse(node.value)}.{node.attr}")}
        called |= {(path, line, name) for name, line in imports_of(path)}
    readers = [
        f"{where(path, line)}: {name} reads the clock; take `now` as an argument, edges read it"
        for path, line, name in sorted(called)
        if tuple(name.split(".")[-2:]) in CLOCK_CALLS
    ]
    assert readers == []


def test_no_float_touches_money() -> None:
    """Money is what is named micros or cents: no float literal, float() or `/` in what is assigned to or made of it."""
    floats: list[str] = []
    for path in python_files(*CODE):
        for statement in ast.walk(tree_of(path)):
            if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.keyword):
                parts = list(parts_of(statement))
                if any(MONEY.search(name_of(part)) for part in parts) and any(is_float(part) for part in parts):
                    line = getattr(statement, "lineno", 0)
                    floats.append(f"{where(path, line)}: count money in whole micros; use // and say how it rounds")
    assert floats == []


def parts_of(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is in it, but for keyword arguments: each of those is looked at alone."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.keyword):
            yield from parts_of(child)


def name_of(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            return name.lower()
        case _:
            return ""


def is_float(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=float()) | ast.Name(id="float") | ast.BinOp(op=ast.Div()):
            return True
        case _:
            return False


def test_domain_imports_only_what_it_may() -> None:
    wrong: list[str] = []
    for path in python_files("domain"):
        for name, line in imports_of(path):
            top = name.partition(".")[0]
            allowed = DOMAIN_MAY_IMPORT.get(top, ())
            if top not in sys.stdlib_module_names and not any(path.is_relative_to(ROOT / part) for part in allowed):
                wrong.append(f"{where(path, line)}: domain may not know {top}; let the edge pass in what it gives")
    assert wrong == []


def test_api_and_scheduler_know_the_broker_and_the_keys_only() -> None:
    wrong = [
        f"{where(path, line)}: {name} is the workers' own; only {', '.join(sorted(WORKERS_SHOWS))} may be imported here"
        for path in python_files("api", "scheduler")
        for name, line in imports_of(path)
        if name.startswith("workers.") and ".".join(name.split(".")[:2]) not in WORKERS_SHOWS
    ]
    assert wrong == []


def test_nothing_is_left_for_later() -> None:
    left = [
        f"{where(path, number)}: do it, or take it out and open an issue"
        for path in tracked()
        if path.suffix in {".py", ".sql", ".lua", ".c", ".h", ".go", ".js", ".css", ".html", ".toml", ".md", ".sh"}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert left == []


def test_decisions_are_short_and_numbered_without_gaps() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:5] for path in decisions] == [f"{number:04d}-" for number in range(1, len(decisions) + 1)]
    long = [
        f"{where(path)}: say it in {DECISION_LINES_MAX} lines: context, decision, consequence"
        for path in decisions
        if len(path.read_text().splitlines()) > DECISION_LINES_MAX
    ]
    assert long == []


@pytest.mark.parametrize(
    "words",
    [
        ("files.pythonhosted", ".org"),
        ("pypi", ".org"),
        ("registry.npmjs", ".org"),
        ("proxy.golang", ".org"),
        ("ghcr", ".io"),
        ("index-", "url"),
        ("/work", "/"),
    ],
)
def test_no_file_names_a_registry_or_the_machine_it_was_written_on(words: tuple[str, str]) -> None:
    needle = "".join(words)
    found = [
        f"{where(path)} names {needle}: say what is needed, not where somebody fetched it"
        for path in tracked()
        if needle in path.read_text(errors="replace")
    ]
    assert found == []
