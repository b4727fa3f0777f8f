"""Named queries: a `.sql` file beside each store module holds them, one sentence of why above each."""

import re
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(rb"^-- name: ([a-z_]+)$", re.MULTILINE)


def load(module_file: str) -> dict[str, bytes]:
    """Return the queries of the `.sql` file beside `module_file` by name, as bytes for psycopg.

    A query begins with a line `-- name: noun_verb`; the file is refused when a name stands twice.
    """
    path = Path(module_file).with_suffix(".sql")
    head, *rest = _NAME.split(path.read_bytes())
    assert not re.sub(rb"(?m)^--.*$", b"", head).strip(), f"{path.name}: text before the first `-- name:` line"
    names = [name.decode() for name in rest[::2]]
    assert len(set(names)) == len(names), f"{path.name}: a query name stands twice"
    return dict(zip(names, (body.strip() for body in rest[1::2]), strict=True))
