"""What receipts are made of, and what was paid back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.funding import GrantPart
from domain.model.receipt import ReceiptRow
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class RefundRow(msgspec.Struct, frozen=True, kw_only=True):
    """What was paid back for a cast."""

    cast_id: UUID
    account_id: UUID
    amount_micros: int
    reason: str
    refunded_at: datetime


async def receipt_read(connection: Connection, *, account_id: UUID, cast_id: UUID) -> ReceiptRow | None:
    """Return what is known of a cast of the account, ended or not; None when there is none. Needs Role.ENGINE."""
    async with connection.cursor(row_factory=class_row(ReceiptRow), binary=True) as cursor:
        await cursor.execute(_QUERIES["receipt_read"], {"account_id": account_id, "cast_id": cast_id})
        return await cursor.fetchone()


async def refund_insert(connection: Connection, refund: RefundRow) -> bool:
    """Write a refund down; False when the cast has one."""
    parameters = {**msgspec.structs.asdict(refund), "now": refund.refunded_at}
    return (await connection.execute(_QUERIES["refund_insert"], parameters)).rowcount == 1


async def refund_get(connection: Connection, *, account_id: UUID, cast_id: UUID) -> RefundRow | None:
    """Return what was paid back for a cast of the account."""
    async with connection.cursor(row_factory=class_row(RefundRow)) as cursor:
        await cursor.execute(_QUERIES["refund_get"], {"account_id": account_id, "cast_id": cast_id})
        return await cursor.fetchone()


async def grants_return(connection: Connection, account_id: UUID, parts: Sequence[GrantPart]) -> None:
    """Give credits back to their grants. Asserts that each is there and has room: they were taken from it."""
    rows = [{"id": part.grant_id, "micros": part.micros} for part in parts if part.micros]
    parameters = {"account_id": account_id, "rows": msgspec.json.encode(rows).decode()}
    cursor = await connection.execute(_QUERIES["grants_return"], parameters)
    assert cursor.rowcount == len(rows), "a cast's grants are kept"
