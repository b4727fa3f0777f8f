"""Invoices as they are shown: amounts in micros beside Stripe's cents, months in UTC."""

from datetime import date, datetime
from typing import TypedDict
from uuid import UUID

import msgspec

from domain.model.invoicing import Difference, Statement, late_label, usage_text
from domain.model.pricing import MICROS_PER_CENT
from domain.store.invoices import BilledCast, InvoiceRow, InvoiceStatus, LineRow


class InvoiceUrls(msgspec.Struct, frozen=True, kw_only=True):
    """Where there is more of it. Stripe's pages are there once it is finalized."""

    self: str
    casts: str
    hosted: str | None
    pdf: str | None


class InvoiceView(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice of a month. `carry_in_micros + usage_micros = total_cents * 10,000 + carry_out_micros`."""

    id: UUID
    period: str
    status: InvoiceStatus
    """`carried`: too little to collect, it opens the next one. `pending`: on its way to Stripe."""
    description: str
    number: str | None
    usage_micros: int
    carry_in_micros: int
    carry_out_micros: int
    total_cents: int
    calls: int
    currency: str = "usd"
    created_at: datetime
    finalized_at: datetime | None
    closed_at: datetime | None
    """When it was paid, or voided."""
    urls: InvoiceUrls


class _Members(TypedDict):
    """The fields of an InvoiceView that come from its row."""

    id: UUID
    period: str
    status: InvoiceStatus
    description: str
    number: str | None
    usage_micros: int
    carry_in_micros: int
    carry_out_micros: int
    total_cents: int
    calls: int
    created_at: datetime
    finalized_at: datetime | None
    closed_at: datetime | None
    urls: InvoiceUrls


class LineView(msgspec.Struct, frozen=True, kw_only=True):
    """What a spell's casts of a month of acceptance cost. Negative after a refund."""

    id: UUID
    month: str
    spell_id: UUID
    spell: str
    description: str
    calls: int
    amount_micros: int
    casts_url: str


class InvoiceDetail(InvoiceView, frozen=True, kw_only=True):
    """An invoice with its lines, whose sum is `usage_micros`."""

    lines: list[LineView]


class InvoiceList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of invoices, newest first."""

    data: list[InvoiceView]
    next_cursor: str | None
    has_more: bool


class UpcomingLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line as it would be now."""

    month: str
    spell_id: UUID
    spell: str
    description: str
    calls: int
    amount_micros: int


class UpcomingView(msgspec.Struct, frozen=True, kw_only=True):
    """The next invoice, if it were frozen now. Casts that are still open are not in it."""

    period: str
    as_of: datetime
    description: str
    usage_micros: int
    carry_in_micros: int
    carry_out_micros: int
    total_cents: int
    """0: too little to collect."""
    calls: int
    currency: str = "usd"
    lines: list[UpcomingLine]


class BilledCastView(msgspec.Struct, frozen=True, kw_only=True):
    """A cast behind a line."""

    id: UUID
    line_id: UUID
    spell: str
    outcome: str
    fuel: int | None
    amount_micros: int
    """What of the line it is: its cost, less what was paid back. Negative when it was billed before."""
    refunded_micros: int
    created_at: datetime
    settled_at: datetime
    key_prefix: str
    url: str


class BilledCastList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the casts behind an invoice or a line, newest first."""

    data: list[BilledCastView]
    next_cursor: str | None
    has_more: bool


def invoice_view(row: InvoiceRow, public_url: str) -> InvoiceView:
    """Return an invoice as it is listed."""
    return InvoiceView(**_members(row, public_url))


def invoice_detail(row: InvoiceRow, lines: list[LineRow], public_url: str) -> InvoiceDetail:
    """Return an invoice with its lines."""
    casts_url = f"{public_url}/v1/invoices/{row.id}/casts"
    return InvoiceDetail(
        **_members(row, public_url),
        lines=[
            LineView(
                id=line.id,
                month=f"{line.month:%Y-%m}",
                spell_id=line.spell_id,
                spell=line.spell,
                description=line_text(line.month, row.period),
                calls=line.calls,
                amount_micros=line.amount_micros,
                casts_url=f"{casts_url}?line={line.id}",
            )
            for line in lines
        ],
    )


def upcoming_view(
    statement: Statement | None, *, period: date, carry_micros: int, names: dict[UUID, str], as_of: datetime
) -> UpcomingView:
    """Return the next invoice; without a statement it is empty, and what was carried stays where it is."""
    if statement is None:
        return UpcomingView(
            period=f"{period:%Y-%m}",
            as_of=as_of,
            description=usage_text(period, calls=0, cents=0),
            usage_micros=0,
            carry_in_micros=carry_micros,
            carry_out_micros=carry_micros,
            total_cents=0,
            calls=0,
            lines=[],
        )
    return UpcomingView(
        period=f"{period:%Y-%m}",
        as_of=as_of,
        description=statement.description,
        usage_micros=statement.usage_micros,
        carry_in_micros=statement.carry_in_micros,
        carry_out_micros=statement.carry_out_micros,
        total_cents=statement.total_cents,
        calls=statement.calls,
        lines=[_upcoming_line(line, period, names[line.spell_id]) for line in statement.lines],
    )


def billed_cast_view(row: BilledCast, public_url: str) -> BilledCastView:
    """Return a cast behind a line."""
    return BilledCastView(
        id=row.id,
        line_id=row.line_id,
        spell=row.spell,
        outcome=row.outcome,
        fuel=row.fuel,
        amount_micros=row.amount_micros,
        refunded_micros=row.refunded_micros,
        created_at=row.accepted_at,
        settled_at=row.settled_at,
        key_prefix=row.key_prefix or "",
        url=f"{public_url}/v1/casts/{row.id}",
    )


def line_text(month: date, period: date) -> str:
    """Return what a line is called."""
    return f"usage of {month:%B %Y}" if month == period else late_label(month)


def _upcoming_line(line: Difference, period: date, spell: str) -> UpcomingLine:
    return UpcomingLine(
        month=f"{line.month:%Y-%m}",
        spell_id=line.spell_id,
        spell=spell,
        description=line_text(line.month, period),
        calls=line.calls,
        amount_micros=line.amount_micros,
    )


def _members(row: InvoiceRow, public_url: str) -> _Members:
    assert row.usage_micros + row.carry_in_micros == row.total_cents * MICROS_PER_CENT + row.carry_out_micros
    url = f"{public_url}/v1/invoices/{row.id}"
    return {
        "id": row.id,
        "period": f"{row.period:%Y-%m}",
        "status": row.status,
        "description": row.description,
        "number": row.number,
        "usage_micros": row.usage_micros,
        "carry_in_micros": row.carry_in_micros,
        "carry_out_micros": row.carry_out_micros,
        "total_cents": row.total_cents,
        "calls": row.calls,
        "created_at": row.frozen_at,
        "finalized_at": row.finalized_at,
        "closed_at": row.closed_at,
        "urls": InvoiceUrls(self=url, casts=f"{url}/casts", hosted=row.hosted_url, pdf=row.pdf_url),
    }
