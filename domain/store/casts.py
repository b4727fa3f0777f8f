"""The read side of casts."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg.pq.abc import PGresult
from psycopg.rows import class_row

from domain.model.cast_view import CastRow, VersionName
from domain.model.manifest import OutputEncoding
from domain.model.modes import Mode
from domain.store.connection import Connection
from domain.store.exchange import Value, ask_last, exchange, rows
from domain.store.queries import load

_QUERIES: Final = load(__file__)
FIRST_ID: Final = UUID(int=0)
LAST_ID: Final = UUID(int=(1 << 128) - 1)


async def casts_by_id(connection: Connection, *, ids: Sequence[UUID]) -> dict[UUID, CastRow]:
    """Return those of `ids` that exist, of any account: needs Role.ENGINE, and a caller that compares the account."""
    (result,) = await exchange(connection, (_QUERIES["casts_by_id"], _within(ids)))
    return {row.id: row for row in rows(connection, result, CastRow)}


def cast_with_commit(connection: Connection, cast_id: UUID, told: Callable[[CastRow], None]) -> None:
    """Have `told` get a cast as a brief transaction leaves it, once that is committed; not where there is none."""

    def read(result: PGresult) -> None:
        for row in rows(connection, result, CastRow):
            told(row)

    ask_last(connection, (_QUERIES["casts_by_id"], _within([cast_id])), read)


async def casts_list(
    connection: Connection,
    *,
    account_id: UUID,
    status: str | None,
    spell_id: UUID | None,
    key_id: UUID | None,
    mode: Mode = Mode.LIVE,
    before: UUID,
    after: UUID,
    limit: int,
) -> list[CastRow]:
    """Return up to `limit` casts of the account and the mode with after <= id < before, newest first."""
    parameters = {
        "account_id": account_id,
        "status": status,
        "spell_id": spell_id,
        "key_id": key_id,
        "before": before,
        "after": after,
        "limit": limit,
    }
    return await _rows(connection, "casts_list_test" if mode is Mode.TEST else "casts_list", parameters)


async def casts_status(connection: Connection, *, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the status of those of `ids` that exist: needs Role.ENGINE."""
    (result,) = await exchange(connection, (_QUERIES["casts_status"], _within(ids)))
    return {row["id"]: row["status"] for row in rows(connection, result, dict[str, Any])}


async def casts_exist(connection: Connection, *, account_ids: Sequence[UUID], ids: Sequence[UUID]) -> set[UUID]:
    """Return which of `ids` were committed, certain either way: whoever wrote them held these accounts' locks."""
    await connection.execute(_QUERIES["accounts_lock"], {"account_ids": list(account_ids)})
    cursor = await connection.execute(_QUERIES["casts_exist"], _within(ids), binary=True)
    return {row[0] for row in await cursor.fetchall()}


async def version_names(connection: Connection, *, ids: Sequence[UUID]) -> dict[UUID, VersionName]:
    """Return what these versions are called: needs Role.ENGINE, for a caller casts the spells of others."""
    cursor = await connection.execute(_QUERIES["version_names"], {"ids": list(ids)}, binary=True)
    return {
        row[0]: VersionName(
            spell=row[1],
            version=row[2],
            digest=row[3],
            output_encoding=None if row[4] is None else OutputEncoding(row[4]),
        )
        for row in await cursor.fetchall()
    }


def _within(ids: Sequence[UUID]) -> dict[str, Value]:
    """Return the ids and between which they are: by that a plan made beforehand leaves out the other months."""
    return {"ids": list(ids), "first_id": min(ids, default=FIRST_ID), "last_id": max(ids, default=FIRST_ID)}


async def _rows(connection: Connection, query: str, parameters: dict[str, Any]) -> list[CastRow]:
    # Binary: a megabyte of output comes as it is instead of as two megabytes of hexadecimal digits.
    async with connection.cursor(row_factory=class_row(CastRow), binary=True) as cursor:
        await cursor.execute(_QUERIES[query], parameters)
        return await cursor.fetchall()
