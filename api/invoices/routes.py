"""GET /v1/invoices and what is under it."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Request, Response, get
from litestar.params import Parameter

from api import weights
from api.access import needs
from api.auth import Principal
from api.invoices.views import (
    BilledCastList,
    InvoiceDetail,
    InvoiceList,
    UpcomingView,
    billed_cast_view,
    invoice_detail,
    invoice_view,
    upcoming_view,
)
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, cursor_of, link_headers, page_of, parse_cursor
from api.services import Services
from domain.flow.freeze_invoice import preview_invoice, upcoming_period
from domain.model.errors import Code, refuse
from domain.model.key_rules import KeyScope
from domain.store import invoices
from domain.store.connection import Connection, account_transaction, transaction
from domain.store.invoices import InvoiceRow

_READ: Final = needs(KeyScope.BILLING_READ, KeyScope.BILLING_WRITE)
_TAGS: Final = ["invoices"]
_ONE: Final = "/v1/invoices/{invoice_id:uuid}"
_Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MAX)]


@get("/v1/invoices", access=_READ, tags=_TAGS)
async def list_invoices(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    *,
    limit: _Limit = LIMIT_DEFAULT,
    cursor: str | None = None,
    created_after: datetime | None = None,
) -> Response[InvoiceList]:
    """List the account's invoices of metered casts, newest first; months with too little to collect are among them."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await invoices.invoices_list(
            connection,
            principal.account_id,
            before=parse_cursor(cursor),
            since=created_after,
            limit=limit + 1,
        )
    page, following = page_of(rows, limit, lambda row: (row.frozen_at, row.id))
    views = [invoice_view(row, services.settings.public_url) for row in page]
    view = InvoiceList(data=views, next_cursor=following, has_more=following is not None)
    query: dict[str, str | int | None] = {
        "limit": limit,
        "created_after": None if created_after is None else created_after.isoformat(),
    }
    return Response(view, headers=link_headers(request.url.path, query, following))


@get("/v1/invoices/upcoming", access=_READ, weight=weights.SUM_UP, tags=_TAGS)
async def show_upcoming(services: Services, principal: Principal) -> UpcomingView:
    """Show what the next invoice would say if it were made now."""
    now = services.now()
    async with transaction(services.engine_pool) as connection:  # names of spells are others'
        period = await upcoming_period(connection, account_id=principal.account_id, now=now)
        preview = await preview_invoice(connection, account_id=principal.account_id, period=period)
        lines = preview.statement.lines if preview.statement is not None else ()
        names = await invoices.spells_named(connection, {line.spell_id for line in lines})
    return upcoming_view(preview.statement, period=period, carry_micros=preview.carry_micros, names=names, as_of=now)


@get(_ONE, access=_READ, tags=_TAGS)
async def show_invoice(services: Services, principal: Principal, invoice_id: UUID) -> InvoiceDetail:
    """Show an invoice with its lines; each says where the casts behind it are."""
    async with transaction(services.engine_pool) as connection:  # names of spells are others'
        row = await _find(connection, principal, invoice_id)
        lines = await invoices.lines_read(connection, principal.account_id, row.id)
    return invoice_detail(row, lines, services.settings.public_url)


@get(f"{_ONE}/casts", access=_READ, weight=weights.SUM_UP, tags=_TAGS)
async def list_casts_of_invoice(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    invoice_id: UUID,
    *,
    line: UUID | None = None,
    limit: _Limit = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response[BilledCastList]:
    """List the casts behind an invoice, or behind one of its lines; their amounts add up to its own."""
    before = parse_cursor(cursor)
    async with transaction(services.engine_pool) as connection:  # names of spells are others'
        row = await _find(connection, principal, invoice_id)
        if line is not None and not await invoices.line_exists(connection, principal.account_id, row.id, line):
            raise refuse(Code.NOT_FOUND, "This invoice has no such line.")
        rows = await invoices.casts_read(
            connection,
            principal.account_id,
            row.id,
            line_id=line,
            before=None if before is None else before[1],
            limit=limit + 1,
        )
    page, following = rows[:limit], None
    if len(rows) > limit:
        following = cursor_of(page[-1].accepted_at, page[-1].id)
    views = [billed_cast_view(cast, services.settings.public_url) for cast in page]
    view = BilledCastList(data=views, next_cursor=following, has_more=following is not None)
    query: dict[str, str | int | None] = {"limit": limit, "line": None if line is None else str(line)}
    return Response(view, headers=link_headers(request.url.path, query, following))


async def _find(connection: Connection, principal: Principal, invoice_id: UUID) -> InvoiceRow:
    row = await invoices.invoice_get(connection, principal.account_id, invoice_id)
    if row is None:
        raise refuse(Code.NOT_FOUND, "There is no such invoice.")
    return row


ROUTES: Final[list[Any]] = [list_invoices, show_upcoming, show_invoice, list_casts_of_invoice]
