"""Named queries: a `.sql` file beside each store module holds them, one sentence of why above each."""

import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Final

_RETURNING: Final = re.compile(rb"^RETURNING ", re.MULTILINE)
_COMMENT: Final = re.compile(rb"^--.*\n", re.MULTILINE)
_NAME: Final = re.compile(rb"^-- name: ([a-z_]+)$", re.MULTILINE)
_INCLUDED: Final = re.compile(rb"^ *-- include: ([a-z_]+)\.([a-z_]+)$", re.MULTILINE)


def load(module_file: str) -> dict[str, bytes]:
    """Return the queries of the `.sql` file beside `module_file` by name, as bytes for psycopg.

    A query begins with a line `-- name: noun_verb`; the file is refused when a name stands twice. Comments stay here. A
    line `-- include: file.name` stands for a query of another file: what several must say alike they say in one text.
    """
    return _queries(Path(module_file).with_suffix(".sql"))


def _queries(path: Path) -> dict[str, bytes]:
    head, *rest = _NAME.split(path.read_bytes())
    assert not re.sub(rb"(?m)^--.*$", b"", head).strip(), f"{path.name}: text before the first `-- name:` line"
    names = [name.decode() for name in rest[::2]]
    assert len(set(names)) == len(names), f"{path.name}: a query name stands twice"
    bodies = [_INCLUDED.sub(lambda found: _included(path, found), body) for body in rest[1::2]]
    return dict(zip(names, (_COMMENT.sub(b"", body).strip() for body in bodies), strict=True))


def _included(path: Path, found: re.Match[bytes]) -> bytes:
    return _queries(path.with_name(f"{found[1].decode()}.sql"))[found[2].decode()]


def together(queries: Mapping[str, bytes], *, told: Collection[str] = ()) -> bytes:
    """Return one statement that runs all of `queries`, which write different tables and do not read each other's.

    What is called `%(rows)s` or `%(rows.id)b` in a query is called `%(name)s` or `%(name.id)b` here. A query that ends
    with RETURNING must find as many rows as `%(name_rows)s` says, else the statement raises an error. It answers with
    one row: the JSON of what the queries in `told` returned, by name.
    A statement costs about 100 microseconds on both sides together, however little it does: a batch of one is all that.
    And each query in it about 30 in Postgres, even of no rows: name those that have some. Each choice of names is
    planned once on each connection, so they come in one order.
    """
    return _joined(tuple(queries.items()), frozenset(told))


@cache
def _joined(queries: tuple[tuple[str, bytes], ...], told: frozenset[str]) -> bytes:
    parts = [b"%s AS (\n%s\n)" % (name.encode(), _renamed(query, name)) for name, query in queries]
    lists = [
        b"'%s', (SELECT coalesce(json_agg(r), '[]') FROM %s AS r)" % (name.encode(), name.encode())
        for name, query in queries
        if name in told and _RETURNING.search(query) is not None
    ]
    answer = b"json_build_object(%s)::text" % b", ".join(lists)
    return b"WITH %s\nSELECT %s" % (b", ".join(parts), b",\n".join([answer, *_checks(queries)]))


def behind_gate(gate: bytes, name: str, queries: Mapping[str, bytes], *, unlike: Mapping[str, bytes]) -> bytes:
    """Return one statement of `gate`, which ends with `SELECT id FROM …`, and of `queries` as in `together`.

    It raises a serialization failure unless the gate finds `%(name_rows)s` rows as they were read before the locks, and
    where a row that a query of `unlike` returned meets the condition there.
    """
    return _behind(gate, name, tuple(queries.items()), tuple(unlike.items()))


@cache
def _behind(
    gate: bytes, name: str, queries: tuple[tuple[str, bytes], ...], unlike: tuple[tuple[str, bytes], ...]
) -> bytes:
    body, _, source = _renamed(gate, name).rpartition(b"\nSELECT id FROM ")
    parts = b"".join([b",\n%s AS (\n%s\n)" % (one.encode(), _renamed(query, one)) for one, query in queries])
    checks = [_check(source.strip(), name.encode(), b"read_again"), *_checks(queries, unlike)]
    return b"%s%s\nSELECT %s" % (body, parts, b",\n".join(checks))


def _checks(queries: tuple[tuple[str, bytes], ...], unlike: tuple[tuple[str, bytes], ...] = ()) -> list[bytes]:
    """Return what raises where a query did not find all of its rows, or some that are unlike."""
    exact = [name for name, query in queries if _RETURNING.search(query) is not None]
    missing = [_check(name.encode(), name.encode(), b"rows_missing") for name in exact]
    again = b"CASE WHEN EXISTS (SELECT FROM %s WHERE %s) THEN read_again('%s') END"
    return missing + [again % (name.encode(), so, name.encode()) for name, so in unlike if name in exact]


def _check(source: bytes, name: bytes, fault: bytes) -> bytes:
    return b"CASE WHEN (SELECT count(*) FROM %s) <> %%(%s_rows)s::bigint THEN %s('%s') END" % (
        source,
        name,
        fault,
        name,
    )


def _renamed(query: bytes, name: str) -> bytes:
    return query.replace(b"%(rows)s", b"%%(%s)s" % name.encode()).replace(b"%(rows.", b"%%(%s." % name.encode())
