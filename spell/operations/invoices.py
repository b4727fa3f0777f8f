"""What was billed for metered casts, and what will be."""

from typing import Final

from spell.core.exchange import Request, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.names import segment
from spell.core.operation import Operation, decoded
from spell.models.invoices import BilledCast, Invoice, UpcomingInvoice

_ALL: Final = "/v1/invoices"
_invoice: Final = decoded(Invoice)
_upcoming: Final = decoded(UpcomingInvoice)


def list_invoices(*, page_size: int = PAGE_SIZE_MAX) -> Listing[Invoice]:
    """Return the account's invoices, newest first, without their lines."""
    return listing(_ALL, Invoice, query_of(limit=page_size))


def get(invoice: str) -> Operation[Invoice]:
    """Return one invoice by its id, with its lines."""
    return Operation(request=Request(method="GET", path=f"{_ALL}/{segment(invoice)}"), decode=_invoice)


def upcoming() -> Operation[UpcomingInvoice]:
    """Return what the next invoice would say if it were made now."""
    return Operation(request=Request(method="GET", path=f"{_ALL}/upcoming"), decode=_upcoming)


def casts(invoice: str, *, line: str | None = None, page_size: int = PAGE_SIZE_MAX) -> Listing[BilledCast]:
    """Return the casts behind an invoice, or behind one of its lines; their amounts add up to its own."""
    path = f"{_ALL}/{segment(invoice)}/casts"
    return listing(path, BilledCast, query_of(line=line, limit=page_size))
