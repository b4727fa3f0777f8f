"""Invoices of metered casts: what was billed, and what will be. Amounts are micros beside Stripe's cents."""

from datetime import datetime

import msgspec


class InvoiceUrls(msgspec.Struct, frozen=True, kw_only=True):
    """Where there is more of an invoice; Stripe's pages once it is finalized."""

    self: str
    casts: str
    hosted: str | None = None
    pdf: str | None = None


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a spell's casts of a month cost. `id` is None in a preview."""

    id: str | None = None
    month: str
    """`2026-10`, in UTC: the month the casts were accepted in."""
    spell_id: str
    spell: str
    description: str
    calls: int
    amount_micros: int
    casts_url: str | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice. `carry_in_micros + usage_micros == total_cents * 10_000 + carry_out_micros`."""

    id: str
    period: str
    status: str
    """`carried` (too little to collect, it opens the next one), `pending`, `open`, `paid`, `uncollectible`, `void`."""
    description: str
    number: str | None = None
    usage_micros: int
    carry_in_micros: int
    carry_out_micros: int
    total_cents: int
    calls: int
    currency: str = "usd"
    created_at: datetime
    finalized_at: datetime | None = None
    closed_at: datetime | None = None
    urls: InvoiceUrls
    lines: tuple[InvoiceLine, ...] = ()
    """Empty in a list."""


class UpcomingInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """The next invoice, if it were made now; casts that are still open are not in it."""

    period: str
    as_of: datetime
    description: str
    usage_micros: int
    carry_in_micros: int
    carry_out_micros: int
    total_cents: int
    calls: int
    currency: str = "usd"
    lines: tuple[InvoiceLine, ...] = ()


class BilledCast(msgspec.Struct, frozen=True, kw_only=True):
    """A cast behind a line of an invoice."""

    id: str
    line_id: str
    spell: str
    outcome: str
    fuel: int | None = None
    amount_micros: int
    """What of the line it is: its cost, less what was paid back. Negative when it was billed before."""
    refunded_micros: int = 0
    created_at: datetime
    settled_at: datetime
    key_prefix: str = ""
    url: str
