"""Named queries: a `.sql` file beside each store module holds them, one sentence of why above each."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_RETURNING: Final = re.compile(rb"^RETURNING ", re.MULTILINE)
_COMMENT: Final = re.compile(rb"^--.*\n", re.MULTILINE)
# psycopg remembers how a text of up to this length is to be sent, and reads a longer one anew each time (200 us).
STATEMENT_BYTES_MAX: Final = 4_096
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


def together(queries: Mapping[str, bytes]) -> bytes:
    """Return one statement that runs all of `queries`, which write different tables and do not read each other's.

    What is called `%(rows)s` in a query is called `%(name)s` here. It answers with one row of JSON: for each query
    that ends with RETURNING the list of what it returned, by name.
    A statement costs about 100 microseconds on both sides together, however little it does: a batch of one is all that.
    And each query in it about 30 in Postgres, even of no rows: name those that have some. Each choice of names is
    planned once on each connection, so they come in one order.
    """
    return _joined(tuple(queries.items()))


@cache
def _joined(queries: tuple[tuple[str, bytes], ...]) -> bytes:
    parts = [b"%s AS (\n%s\n)" % (name.encode(), _renamed(query, name)) for name, query in queries]
    lists = [
        b"'%s', (SELECT coalesce(json_agg(r), '[]') FROM %s AS r)" % (name.encode(), name.encode())
        for name, query in queries
        if _RETURNING.search(query) is not None
    ]
    whole = b"WITH %s\nSELECT json_build_object(%s)::text" % (b", ".join(parts), b", ".join(lists))
    assert len(whole) <= STATEMENT_BYTES_MAX, f"{len(whole)} bytes: psycopg would parse this text for every batch"
    return whole


def _renamed(query: bytes, name: str) -> bytes:
    return query.replace(b"%(rows)s", b"%%(%s)s" % name.encode())
