"""Pages of an account's rows of every kind, as they go into an export. Runs inside the caller's transaction."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
_FLOOR: Final = UUID(int=0)


class RowPage(msgspec.Struct, frozen=True, kw_only=True):
    """Rows as JSON objects, and the key of the last one; no rows: there are no more."""

    rows: list[bytes]
    last_key: tuple[str, ...] | None


async def page_read(
    conn: Connection,
    name: str,
    *,
    account_id: UUID,
    instant: datetime,
    after: Sequence[str] | None,
    rows_max: int,
    bytes_max: int,
) -> RowPage:
    """Return up to `rows_max` rows of the kind `name` that were there at `instant`, those behind the key `after`.

    `bytes_max` bounds what casts read and wrote; one row is returned however large it is. Bytes are JSON text where
    they are UTF-8, else `{"base64": …}`. Needs Role.ENGINE: names of spells are others'.
    """
    parameters = {
        "account_id": account_id,
        "instant": instant,
        "after": None if after is None else list(after),
        "floor": _FLOOR,
        "rows_max": rows_max,
        "bytes_max": bytes_max,
    }
    async with conn.cursor(row_factory=dict_row, binary=True) as cursor:
        set_json_loads(_as_it_is, cursor)
        await cursor.execute(_QUERIES[f"{name}_page"], parameters)
        rows = await cursor.fetchall()
    keys: list[list[str]] = [row.pop("row_key") for row in rows]
    return RowPage(rows=[_json(row) for row in rows], last_key=tuple(keys[-1]) if keys else None)


def _as_it_is(text: str | bytes) -> msgspec.Raw:
    """Leave JSON as it was written: numbers keep their digits, and nothing is parsed only to be written again."""
    return msgspec.Raw(text.encode() if isinstance(text, str) else bytes(text))


def _json(row: dict[str, Any]) -> bytes:
    return msgspec.json.encode(
        {name: _text(value) if isinstance(value, bytes) else value for name, value in row.items()}
    )


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}
