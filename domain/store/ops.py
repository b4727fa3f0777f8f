"""What an operator asks: open holds, the trial balance, the last reconciliations. Needs Role.ENGINE throughout."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class OpenHold(msgspec.Struct, frozen=True, kw_only=True):
    """A cast that has not ended, and what it holds."""

    id: UUID
    account_id: UUID
    handle: str
    key_id: UUID | None
    spell_id: UUID
    status: str
    pool: str
    on_wire: bool
    held_micros: int
    funding: str
    accepted_at: datetime
    deadline_at: datetime


class HoldsTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What open casts hold by their rows, and by the accounts' months; a difference is a fault."""

    open_casts: int
    casts_held_micros: int
    months_held_micros: int

    @property
    def drift_micros(self) -> int:
        """Return what the months hold beyond the casts; 0 when all is well."""
        return self.months_held_micros - self.casts_held_micros


class LedgerAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One account of the ledger."""

    name: str
    credit_micros: int
    debit_micros: int


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """One report of the scheduler; `report` is JSON text."""

    id: int
    made_at: datetime
    scope: str
    balanced: bool
    report: str


class CastTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a cast asked for."""

    account_id: UUID
    key_id: UUID | None
    spell_id: UUID
    version_id: UUID
    creator_id: UUID
    digest: bytes
    pool: str
    status: str
    fuel_limit: int
    wall_ms_limit: int
    memory_bytes_limit: int
    output_bytes_limit: int
    log_bytes_limit: int
    input: bytes | None
    """None when it is no longer kept."""
    metadata: str
    webhook_url: str | None


async def cast_terms(connection: Connection, *, cast_id: UUID) -> CastTerms | None:
    """Return what a cast asked for, or None when there is no such cast."""
    async with connection.cursor(row_factory=class_row(CastTerms), binary=True) as cursor:
        await cursor.execute(_QUERIES["cast_terms"], {"id": cast_id})
        return await cursor.fetchone()


async def partition_ready(connection: Connection, *, now: datetime) -> bool:
    """Return whether this month and the next have their partition."""
    cursor = await connection.execute(_QUERIES["partition_ready"], {"now": now})
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def holds_list(connection: Connection, *, after: UUID, limit: int) -> list[OpenHold]:
    """Return up to `limit` open holds with an id after `after`, oldest first."""
    async with connection.cursor(row_factory=class_row(OpenHold)) as cursor:
        await cursor.execute(_QUERIES["holds_list"], {"after": after, "limit": limit})
        return await cursor.fetchall()


async def holds_total(connection: Connection) -> HoldsTotal:
    """Return both sums of one snapshot."""
    cursor = await connection.execute(_QUERIES["holds_total"])
    row = await cursor.fetchone()
    assert row is not None, "three aggregates are one row"
    return HoldsTotal(open_casts=row[0], casts_held_micros=row[1], months_held_micros=row[2])


async def trial_balance(connection: Connection, *, limit: int) -> list[LedgerAccount]:
    """Return the accounts of the ledger by name, up to `limit`."""
    cursor = await connection.execute(_QUERIES["trial_balance"], {"limit": limit})
    return [LedgerAccount(name=row[0], credit_micros=row[1], debit_micros=row[2]) for row in await cursor.fetchall()]


async def reconciliation_latest(connection: Connection, *, limit: int) -> list[Reconciliation]:
    """Return the newest reports, newest first."""
    async with connection.cursor(row_factory=class_row(Reconciliation)) as cursor:
        await cursor.execute(_QUERIES["reconciliation_latest"], {"limit": limit})
        return await cursor.fetchall()
