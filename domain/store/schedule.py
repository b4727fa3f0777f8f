"""The statements of the scheduler: slots, upkeep, holds and reconciliation."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.events import SuspendedSpell
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class HoldTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What is held, counted from both sides, at one instant."""

    months_micros: int
    casts_micros: int
    windows_micros: int
    casts_in_windows_micros: int
    casts_open: int

    @property
    def drift_micros(self) -> int:
        """How far the two sides are apart: zero, or an alarm."""
        return abs(self.months_micros - self.casts_micros) + abs(self.windows_micros - self.casts_in_windows_micros)


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """An account whose books disagree in a month."""

    account_id: UUID
    month: date
    casts: int
    usage_events: int
    counted_casts: int
    casts_micros: int
    usage_micros: int
    counters_micros: int
    ledger_micros: int
    month_micros: int


class CreditDrift(msgspec.Struct, frozen=True, kw_only=True):
    """An account whose credits are not the same in its grants, in the history of its balance and in the ledger."""

    account_id: UUID
    grants_micros: int
    history_micros: int
    ledger_micros: int


async def clock(connection: Connection) -> datetime:
    """Return the database's time."""
    row = await (await connection.execute(_QUERIES["clock_read"])).fetchone()
    assert row is not None
    return row[0]


async def claim_slot(connection: Connection, job: str, slot: datetime, *, lease: timedelta) -> bool:
    """Return whether this caller is the one who runs the slot: nobody did, or who did has said nothing for `lease`."""
    cursor = await connection.execute(_QUERIES["slot_claim"], {"job": job, "slot": slot, "lease": lease})
    return cursor.rowcount == 1


async def finish_slot(connection: Connection, job: str, slot: datetime, result: str) -> None:
    """Write down what the run did."""
    await connection.execute(_QUERIES["slot_finish"], {"job": job, "slot": slot, "result": result})


async def trim_slots(connection: Connection, *, before: datetime) -> int:
    """Delete slots older than `before`; return how many."""
    return (await connection.execute(_QUERIES["slots_trim"], {"before": before})).rowcount


async def trim_idempotency(connection: Connection, *, before: datetime, limit: int) -> int:
    """Delete at most `limit` idempotency keys older than `before`; return how many."""
    parameters = {"before": before, "limit": limit}
    return (await connection.execute(_QUERIES["idempotency_trim"], parameters)).rowcount


async def ensure_partitions(connection: Connection, *, first_month: date, months: int) -> int:
    """Make missing partitions for `months` months from `first_month`; return how many were made."""
    cursor = await connection.execute(_QUERIES["partitions_ensure"], {"first_month": first_month, "months": months})
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def crashing(connection: Connection, *, since: datetime, crashes: int) -> Sequence[UUID]:
    """Return spells, not yet suspended, whose casts crashed their sandbox at least `crashes` times since a moment."""
    cursor = await connection.execute(_QUERIES["spells_crashing"], {"since": since, "crashes": crashes})
    return [row[0] for row in await cursor.fetchall()]


async def suspend(connection: Connection, spell_ids: Sequence[UUID], *, reason: str) -> list[SuspendedSpell]:
    """Lock the creators' accounts, then suspend those of these spells that are not; return them."""
    await connection.execute(_QUERIES["creators_lock"], {"ids": list(spell_ids)})
    async with connection.cursor(row_factory=class_row(SuspendedSpell)) as cursor:
        await cursor.execute(_QUERIES["spells_suspend"], {"ids": list(spell_ids), "reason": reason})
        return await cursor.fetchall()


async def holds(connection: Connection) -> HoldTotals:
    """Return what is held, from both sides, in one snapshot."""
    row = await (await connection.execute(_QUERIES["holds_read"])).fetchone()
    assert row is not None
    months, casts, windows, in_windows, casts_open = row
    return HoldTotals(
        months_micros=months,
        casts_micros=casts,
        windows_micros=windows,
        casts_in_windows_micros=in_windows,
        casts_open=casts_open,
    )


async def drifts(connection: Connection, *, begins: datetime, ends: datetime) -> list[Drift]:
    """Return the accounts whose casts, usage events, counters and ledger differ in the month [begins, ends)."""
    cursor = await connection.execute(_QUERIES["reconciliation_read"], {"begins": begins, "ends": ends})
    fields = Drift.__struct_fields__
    return [Drift(**dict(zip(fields, row, strict=True))) for row in await cursor.fetchall()]


async def credit_drifts(connection: Connection) -> list[CreditDrift]:
    """Return the accounts whose grants, history and ledger differ about their credits."""
    cursor = await connection.execute(_QUERIES["credits_drift_read"])
    fields = CreditDrift.__struct_fields__
    return [CreditDrift(**dict(zip(fields, row, strict=True))) for row in await cursor.fetchall()]


async def ledger_sum(connection: Connection) -> int:
    """Return the sum over all ledger accounts."""
    row = await (await connection.execute(_QUERIES["ledger_sum_read"])).fetchone()
    assert row is not None
    return row[0]


async def insert_report(connection: Connection, *, scope: str, balanced: bool, report: str) -> None:
    """Keep a reconciliation's result, of our own books or of Stripe's; `report` is JSON."""
    await connection.execute(_QUERIES["report_insert"], {"scope": scope, "balanced": balanced, "report": report})
