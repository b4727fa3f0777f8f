"""`spell invoices`: what was billed for metered casts, line by line, down to each cast."""

from itertools import islice
from typing import Final

import click
from rich_click import RichCommand

from spell.client import Client
from spell.commands.platform import platform, platform_options, rows_option
from spell.models.invoices import Invoice, InvoiceLine, UpcomingInvoice
from spell.screen import Cell, Column, dollars, print_facts, print_json, print_rows, when

_PAGE_MAX: Final = 100
_MICROS_PER_CENT: Final = 10_000
UPCOMING: Final = "upcoming"
_COLUMNS: Final = (
    Column(title="id"),
    Column(title="period"),
    Column(title="status"),
    Column(title="calls", right=True, importance=2),
    Column(title="total", right=True),
    Column(title="number", importance=3),
    Column(title="made", importance=1),
)
_LINES: Final = (
    Column(title="line", importance=2),
    Column(title="what"),
    Column(title="spell", shrinks=True),
    Column(title="calls", right=True),
    Column(title="amount", right=True),
)
_CASTS: Final = (
    Column(title="cast"),
    Column(title="spell", shrinks=True),
    Column(title="outcome", importance=1),
    Column(title="fuel", right=True, importance=3),
    Column(title="amount", right=True),
    Column(title="made", importance=2),
)


@click.command(cls=RichCommand)
@click.option("--casts", "show_casts", is_flag=True, help="List the casts behind the invoice.")
@click.option("--line", metavar="LINE", help="With --casts: those behind this line alone.")
@rows_option
@platform_options
@click.argument("invoice_id", metavar="[ID|upcoming]", required=False)
def invoices(
    *, show_casts: bool, line: str | None, rows_max: int, url: str | None, as_json: bool, invoice_id: str | None
) -> None:
    """List invoices; show one with its lines, the casts behind it, or what the next one will say (`upcoming`)."""
    _refuse_what_does_not_go_together(invoice_id, show_casts=show_casts, line=line)
    with platform(url) as client:
        if invoice_id is None:
            _list(client, rows_max, as_json=as_json)
        elif invoice_id == UPCOMING:
            _show(client.invoices.upcoming(), as_json=as_json)
        elif show_casts:
            _list_casts(client, invoice_id, line, rows_max, as_json=as_json)
        else:
            _show(client.invoices.get(invoice_id), as_json=as_json)


def _refuse_what_does_not_go_together(invoice_id: str | None, *, show_casts: bool, line: str | None) -> None:
    if show_casts and invoice_id in {None, UPCOMING}:
        message = "--casts needs the ID of an invoice; `spell invoices` lists them"
        raise click.UsageError(message)
    if line is not None and not show_casts:
        message = "--line goes with --casts"
        raise click.UsageError(message)


def _list(client: Client, rows_max: int, *, as_json: bool) -> None:
    found = list(islice(client.invoices.list(page_size=min(rows_max, _PAGE_MAX)), rows_max))
    if as_json:
        print_json(found)
        return
    print_rows(_COLUMNS, [_row(invoice) for invoice in found], empty="Nothing was billed yet.")


def _row(invoice: Invoice) -> tuple[Cell, ...]:
    return (
        invoice.id,
        invoice.period,
        invoice.status,
        f"{invoice.calls:,}",
        _cents(invoice.total_cents),
        invoice.number or "",
        when(invoice.created_at),
    )


def _show(invoice: Invoice | UpcomingInvoice, *, as_json: bool) -> None:
    if as_json:
        print_json(invoice)
        return
    print_rows(_LINES, [_line(line) for line in invoice.lines], empty="It has no lines.")
    facts: list[tuple[str, Cell]] = [
        ("description", invoice.description),
        ("usage", dollars(invoice.usage_micros)),
        ("carried from before", dollars(invoice.carry_in_micros)),
        ("total", _cents(invoice.total_cents)),
        ("carried to the next", dollars(invoice.carry_out_micros)),
    ]
    if isinstance(invoice, Invoice):
        facts.insert(1, ("status", invoice.status))
        pages = (("page", invoice.urls.hosted), ("PDF", invoice.urls.pdf))
        facts += [(name, address) for name, address in pages if address is not None]
    print_facts(facts, aside=True)


def _line(line: InvoiceLine) -> tuple[Cell, ...]:
    return (line.id or "", line.description, line.spell, f"{line.calls:,}", dollars(line.amount_micros))


def _list_casts(client: Client, invoice_id: str, line: str | None, rows_max: int, *, as_json: bool) -> None:
    pages = client.invoices.casts(invoice_id, line=line, page_size=min(rows_max, _PAGE_MAX))
    found = list(islice(pages, rows_max))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            cast.id,
            cast.spell,
            cast.outcome,
            "" if cast.fuel is None else f"{cast.fuel:,}",
            dollars(cast.amount_micros),
            when(cast.created_at),
        )
        for cast in found
    ]
    print_rows(_CASTS, rows, empty="No cast is behind it.")


def _cents(cents: int) -> str:
    return dollars(cents * _MICROS_PER_CENT)
