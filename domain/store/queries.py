"""Named queries: a `.sql` file beside each store module holds them, one sentence of why above each."""

import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

_RETURNING: Final = re.compile(rb"^RETURNING ", re.MULTILINE)
_COMMENT: Final = re.compile(rb"^--.*\n", re.MULTILINE)
_NAME: Final = re.compile(rb"^-- name: ([a-z_]+)$", re.MULTILINE)


def load(module_file: str) -> dict[str, bytes]:
    """Return the queries of the `.sql` file beside `module_file` by name, as bytes for psycopg.

    A query begins with a line `-- name: noun_verb`; the file is refused when a name stands twice. Comments stay here.
    """
    path = Path(module_file).with_suffix(".sql")
    head, *rest = _NAME.split(path.read_bytes())
    assert not re.sub(rb"(?m)^--.*$", b"", head).strip(), f"{path.name}: text before the first `-- name:` line"
    names = [name.decode() for name in rest[::2]]
    assert len(set(names)) == len(names), f"{path.name}: a query name stands twice"
    return dict(zip(names, (_COMMENT.sub(b"", body).strip() for body in rest[1::2]), strict=True))


def together(
    queries: Mapping[str, bytes], *, told: Collection[str] = (), unlike: Mapping[str, bytes] = MappingProxyType({})
) -> bytes:
    """Return one statement that runs all of `queries`, which write different tables and do not read each other's.

    What is called `%(rows)s` or `%(rows.id)b` in a query is called `%(name)s` or `%(name.id)b` here. A query that ends
    with RETURNING must find as many rows as `%(name_rows)s` says, else the statement raises an error. It answers with
    one row: the JSON of what the queries in `told` returned, by name. Where a row that a query of `unlike` returned
    meets the condition there, what was decided on is not so any more: the statement raises a serialization failure.
    A statement costs about 100 microseconds on both sides together, however little it does: a batch of one is all that.
    And each query in it about 30 in Postgres, even of no rows: name those that have some. Each choice of names is
    planned once on each connection, so they come in one order.
    """
    return _joined(tuple(queries.items()), frozenset(told), tuple(unlike.items()))


@cache
def _joined(
    queries: tuple[tuple[str, bytes], ...], told: frozenset[str], unlike: tuple[tuple[str, bytes], ...]
) -> bytes:
    parts = [b"%s AS (\n%s\n)" % (name.encode(), _renamed(query, name)) for name, query in queries]
    exact = [name.encode() for name, query in queries if _RETURNING.search(query) is not None]
    lists = [
        b"'%s', (SELECT coalesce(json_agg(r), '[]') FROM %s AS r)" % (name, name)
        for name in exact
        if name.decode() in told
    ]
    checks = [_check(name, name, b"rows_missing") for name in exact]
    checks += [
        b"CASE WHEN EXISTS (SELECT FROM %s WHERE %s) THEN read_again('%s') END" % (name.encode(), so, name.encode())
        for name, so in unlike
        if name.encode() in exact
    ]
    answer = b"json_build_object(%s)::text" % b", ".join(lists)
    return b"WITH %s\nSELECT %s" % (b", ".join(parts), b",\n".join([answer, *checks]))


def counted(query: bytes, name: str) -> bytes:
    """Return `query`, which ends with `SELECT id FROM …`, for rows that were read before the locks.

    It raises a serialization failure unless it finds `%(name_rows)s` rows as they were read.
    """
    body, _, source = query.rpartition(b"SELECT id FROM ")
    return b"%sSELECT %s" % (body, _check(source.strip(), name.encode(), b"read_again"))


def _check(source: bytes, name: bytes, fault: bytes) -> bytes:
    return b"CASE WHEN (SELECT count(*) FROM %s) <> %%(%s_rows)s::bigint THEN %s('%s') END" % (
        source,
        name,
        fault,
        name,
    )


def _renamed(query: bytes, name: str) -> bytes:
    return query.replace(b"%(rows)s", b"%%(%s)s" % name.encode()).replace(b"%(rows.", b"%%(%s." % name.encode())
