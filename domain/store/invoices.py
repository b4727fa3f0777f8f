"""Invoices: read and frozen under the account's lock, followed at Stripe, and shown with the casts behind them."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Final, Literal
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.invoicing import Difference, Freeze, Statement
from domain.model.ledger import receivable_of
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)
_encode: Final = msgspec.json.Encoder().encode
_ID_MAX: Final = UUID(int=(1 << 128) - 1)


InvoiceStatus = Literal["carried", "pending", "open", "paid", "uncollectible", "void"]


class BillableAccount(msgspec.Struct, frozen=True, kw_only=True):
    """What of an account decides about its bill, and the database's time: behind its lock, where that was taken."""

    billing: str
    open_casts: int
    read_at: datetime


class OpenedInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice that was just finalized."""

    period: date
    calls: int
    total_cents: int
    description: str


class StandingInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """How an invoice stands."""

    period: date
    status: str
    total_cents: int


class AtStripe(msgspec.Struct, frozen=True, kw_only=True):
    """What Stripe calls an invoice, and where it shows it."""

    invoice_id: str
    number: str | None = None
    hosted_url: str | None = None
    pdf_url: str | None = None


class InvoiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as its owner sees it."""

    id: UUID
    period: date
    frozen_at: datetime
    usage_micros: int
    carry_in_micros: int
    carry_out_micros: int
    total_cents: int
    calls: int
    description: str
    status: InvoiceStatus
    number: str | None
    stripe_invoice_id: str | None
    hosted_url: str | None
    pdf_url: str | None
    finalized_at: datetime | None
    closed_at: datetime | None


class LineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line: what a spell's casts of a month of acceptance cost. `spell` is owner/name."""

    id: UUID
    month: date
    spell_id: UUID
    spell: str
    calls: int
    amount_micros: int


class BilledCast(msgspec.Struct, frozen=True, kw_only=True):
    """A cast behind a line."""

    id: UUID
    line_id: UUID
    spell: str
    outcome: str
    fuel: int | None
    amount_micros: int
    """What of the line it is: its cost, less what was paid back. Negative when it was billed before."""
    refunded_micros: int
    accepted_at: datetime
    settled_at: datetime
    key_prefix: str | None


class _LineRow(msgspec.Struct, frozen=True):
    month: date
    spell_id: UUID
    calls: int
    amount_micros: int
    share_micros: int
    settled_after: datetime


async def account_lock(conn: Connection, account_id: UUID) -> BillableAccount:
    """Take the mutex of the account's money."""
    return await _account(conn, "account_lock", account_id)


async def account_read(conn: Connection, account_id: UUID) -> BillableAccount:
    """Return the account as it is, for a look."""
    return await _account(conn, "account_read", account_id)


async def _account(conn: Connection, query: str, account_id: UUID) -> BillableAccount:
    row = await (await conn.execute(_QUERIES[query], {"account_id": account_id})).fetchone()
    assert row is not None, "accounts are never deleted"
    return BillableAccount(billing=row[0], open_casts=row[1], read_at=row[2])


async def customer_read(conn: Connection, account_id: UUID) -> str | None:
    """Return Stripe's id of the account, if it has one."""
    row = await (await conn.execute(_QUERIES["customer_read"], {"account_id": account_id})).fetchone()
    return None if row is None else row[0]


async def open_casts_exist(conn: Connection, account_id: UUID, *, before: datetime) -> bool:
    """Tell whether a cast accepted before then is still open."""
    return await _tells(conn, "open_casts_exist", account_id=account_id, before=before)


async def invoice_exists(conn: Connection, account_id: UUID, *, period: date) -> bool:
    """Tell whether the account's month is billed."""
    return await _tells(conn, "invoice_exists", account_id=account_id, period=period)


async def differences_read(conn: Connection, account_id: UUID, *, period: date) -> list[Difference]:
    """Return what is owed for casts of the period and the months before it, and in no line yet."""
    parameters = {"account_id": account_id, "period": period, "receivable": receivable_of(account_id)}
    cursor = await conn.execute(_QUERIES["differences_read"], parameters)
    return [
        Difference(month=month, spell_id=spell_id, calls=calls, amount_micros=micros, share_micros=share)
        for month, spell_id, calls, micros, share in await cursor.fetchall()
    ]


async def freezes_read(conn: Connection, account_id: UUID) -> list[Freeze]:
    """Return the account's invoices as far as the next one needs them, the latest first."""
    async with conn.cursor(row_factory=class_row(Freeze)) as cursor:
        await cursor.execute(_QUERIES["freezes_read"], {"account_id": account_id})
        return await cursor.fetchall()


async def invoice_insert(
    conn: Connection,
    statement: Statement,
    *,
    invoice_id: UUID,
    account_id: UUID,
    run_id: UUID,
    customer_id: str | None,
    settled_after: Sequence[datetime],
    frozen_at: datetime,
) -> None:
    """Freeze an invoice with its lines; `settled_after` is each line's. The caller holds the account's lock."""
    parameters = {
        "id": invoice_id,
        "account_id": account_id,
        "run_id": run_id,
        "period": statement.period,
        "frozen_at": frozen_at,
        "usage_micros": statement.usage_micros,
        "carry_in_micros": statement.carry_in_micros,
        "carry_out_micros": statement.carry_out_micros,
        "total_cents": statement.total_cents,
        "calls": statement.calls,
        "description": statement.description,
        "status": "carried" if statement.is_carried else "pending",
        "customer_id": customer_id,
    }
    await conn.execute(_QUERIES["invoice_insert"], parameters)
    rows = [
        _LineRow(line.month, line.spell_id, line.calls, line.amount_micros, line.share_micros, after)
        for line, after in zip(statement.lines, settled_after, strict=True)
    ]
    lines = {
        "invoice_id": invoice_id,
        "account_id": account_id,
        "settled_until": frozen_at,
        "rows": _encode(rows).decode(),
    }
    await conn.execute(_QUERIES["lines_insert"], lines)


async def invoice_open(
    conn: Connection, invoice_id: UUID, *, account_id: UUID, stripe: AtStripe, now: datetime
) -> OpenedInvoice | None:
    """Note that an invoice is finalized; None when that was noted before."""
    async with conn.cursor(row_factory=class_row(OpenedInvoice)) as cursor:
        parameters = {"id": invoice_id, "account_id": account_id, "now": now, **_at_stripe(stripe)}
        await cursor.execute(_QUERIES["invoice_open"], parameters)
        return await cursor.fetchone()


async def account_of_invoice(conn: Connection, invoice_id: UUID) -> UUID | None:
    """Return whose invoice this is; None when it is none of ours."""
    row = await (await conn.execute(_QUERIES["account_of_invoice"], {"id": invoice_id})).fetchone()
    return None if row is None else row[0]


async def invoice_lock(conn: Connection, invoice_id: UUID, *, account_id: UUID) -> StandingInvoice | None:
    """Return how an invoice stands, and keep it so until the transaction ends."""
    async with conn.cursor(row_factory=class_row(StandingInvoice)) as cursor:
        await cursor.execute(_QUERIES["invoice_lock"], {"id": invoice_id, "account_id": account_id})
        return await cursor.fetchone()


async def invoice_move(
    conn: Connection,
    invoice_id: UUID,
    *,
    account_id: UUID,
    status: str,
    is_closed: bool,
    stripe: AtStripe,
    now: datetime,
) -> None:
    """Write what became of a locked invoice at Stripe."""
    parameters = {
        "id": invoice_id,
        "account_id": account_id,
        "status": status,
        "is_closed": is_closed,
        "now": now,
        **_at_stripe(stripe),
    }
    await conn.execute(_QUERIES["invoice_move"], parameters)


async def invoices_list(
    conn: Connection,
    account_id: UUID,
    *,
    before: tuple[datetime, UUID] | None = None,
    since: datetime | None = None,
    limit: int,
) -> list[InvoiceRow]:
    """Return invoices of the account, newest first, those behind the cursor `before`."""
    instant, identifier = before if before is not None else (None, _ID_MAX)
    parameters = {
        "account_id": account_id,
        "before": instant,
        "before_id": identifier,
        "since": since,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(InvoiceRow)) as cursor:
        await cursor.execute(_QUERIES["invoices_list"], parameters)
        return await cursor.fetchall()


async def invoice_get(conn: Connection, account_id: UUID, invoice_id: UUID) -> InvoiceRow | None:
    """Return one invoice of the account."""
    async with conn.cursor(row_factory=class_row(InvoiceRow)) as cursor:
        await cursor.execute(_QUERIES["invoice_get"], {"account_id": account_id, "id": invoice_id})
        return await cursor.fetchone()


async def lines_read(conn: Connection, account_id: UUID, invoice_id: UUID) -> list[LineRow]:
    """Return an invoice's lines. Needs Role.ENGINE: names of spells are others'."""
    async with conn.cursor(row_factory=class_row(LineRow)) as cursor:
        await cursor.execute(_QUERIES["lines_read"], {"account_id": account_id, "invoice_id": invoice_id})
        return await cursor.fetchall()


async def line_exists(conn: Connection, account_id: UUID, invoice_id: UUID, line_id: UUID) -> bool:
    """Tell whether a line is one of this invoice."""
    return await _tells(conn, "line_exists", account_id=account_id, invoice_id=invoice_id, line_id=line_id)


async def casts_read(
    conn: Connection, account_id: UUID, invoice_id: UUID, *, line_id: UUID | None, before: UUID | None, limit: int
) -> list[BilledCast]:
    """Return the casts behind an invoice or one of its lines, newest first, those older than the cast `before`.

    Needs Role.ENGINE: names of spells are others'.
    """
    parameters = {
        "account_id": account_id,
        "invoice_id": invoice_id,
        "line_id": line_id,
        "before_id": before or _ID_MAX,
        "limit": limit,
    }
    async with conn.cursor(row_factory=class_row(BilledCast)) as cursor:
        await cursor.execute(_QUERIES["casts_read"], parameters)
        return await cursor.fetchall()


async def spells_named(conn: Connection, spell_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return what spells are called, as owner/name. Needs Role.ENGINE."""
    cursor = await conn.execute(_QUERIES["spells_named"], {"ids": list(spell_ids)})
    return dict(await cursor.fetchall())


async def _tells(conn: Connection, query: str, **parameters: object) -> bool:
    row = await (await conn.execute(_QUERIES[query], parameters)).fetchone()
    assert row is not None, "EXISTS makes one row"
    return row[0]


def _at_stripe(stripe: AtStripe) -> dict[str, object]:
    return {
        "stripe_invoice_id": stripe.invoice_id,
        "number": stripe.number,
        "hosted_url": stripe.hosted_url,
        "pdf_url": stripe.pdf_url,
    }
