"""What creators earn, as far as it is decided by: shares of invoices and grants, read under the payer's lock.

Everything here needs Role.ENGINE: shares are booked with who pays them, and belong to whom they are paid.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.earnings import BilledShare, GrantFunds, GrantShare
from domain.model.ledger import UNCOLLECTED
from domain.model.pricing import MICROS_PER_CENT
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class BilledShares(msgspec.Struct, frozen=True, kw_only=True):
    """The shares in an account's invoices that are paid or given up."""

    shares: Sequence[BilledShare]
    collected_micros: int
    moved: int
    """How many rows moved shares of them so far."""


class GrantShares(msgspec.Struct, frozen=True, kw_only=True):
    """The shares a grant paid."""

    shares: Sequence[GrantShare]
    waits_since: datetime | None
    """When the oldest share was booked that has not waited long enough."""
    moved: int
    """How many rows moved shares of the grant so far."""


async def billed_shares_read(conn: Connection, *, account_id: UUID) -> BilledShares:
    """Return the shares in an account's invoices, each creator's, and what the invoices collected."""
    parameters = {"account_id": account_id, "uncollected": UNCOLLECTED}
    async with conn.cursor(row_factory=class_row(BilledShare)) as cursor:
        await cursor.execute(_QUERIES["billed_shares_read"], parameters)
        shares = await cursor.fetchall()
    row = await (await conn.execute(_QUERIES["collected_read"], parameters)).fetchone()
    assert row is not None, "it is one row whatever there is"
    return BilledShares(shares=shares, collected_micros=row[0] * MICROS_PER_CENT, moved=row[1])


async def line_of_cast(
    conn: Connection, *, account_id: UUID, spell_id: UUID, month: date, settled_at: datetime
) -> UUID | None:
    """Return the line that bills a metered cast of the month that was settled then; None when none does yet."""
    parameters = {"account_id": account_id, "spell_id": spell_id, "month": month, "settled_at": settled_at}
    row = await (await conn.execute(_QUERIES["line_of_cast"], parameters)).fetchone()
    return None if row is None else row[0]


async def grant_funds_read(conn: Connection, *, account_id: UUID, grant_id: UUID) -> GrantFunds:
    """Return what decides about the shares of a grant."""
    async with conn.cursor(row_factory=class_row(GrantFunds)) as cursor:
        await cursor.execute(_QUERIES["grant_funds_read"], {"account_id": account_id, "grant_id": grant_id})
        row = await cursor.fetchone()
    assert row is not None, "grants are never deleted"
    return row


async def grant_shares_read(conn: Connection, *, grant_id: UUID, ripe_until: datetime | None) -> GrantShares:
    """Return the shares a grant paid, each creator's; ripe are those booked until then, or all of them."""
    parameters = {"grant_id": grant_id, "ripe_until": ripe_until or "infinity", "uncollected": UNCOLLECTED}
    rows = await (await conn.execute(_QUERIES["grant_shares_read"], parameters)).fetchall()
    return GrantShares(
        shares=[
            GrantShare(creator_id=creator, net_micros=net, ripe_micros=ripe, payable_micros=payable, lost_micros=lost)
            for creator, net, ripe, payable, lost, _, _ in rows
        ],
        waits_since=min((row[5] for row in rows if row[5] is not None), default=None),
        moved=sum(row[6] for row in rows),
    )


async def grant_seen(
    conn: Connection, *, account_id: UUID, grant_id: UUID, used_micros: int, look_at: datetime | None
) -> None:
    """Note that the shares of a grant were looked at."""
    parameters = {"account_id": account_id, "grant_id": grant_id, "used_micros": used_micros, "look_at": look_at}
    await conn.execute(_QUERIES["grant_seen"], parameters)


async def grants_due(conn: Connection, *, after: UUID, now: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Return grants whose shares are to be looked at, with their accounts, in order of id from `after` on."""
    cursor = await conn.execute(_QUERIES["grants_due"], {"after": after, "now": now, "limit": limit})
    return [(grant_id, account_id) for grant_id, account_id in await cursor.fetchall()]
