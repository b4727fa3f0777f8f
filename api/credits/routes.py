"""What an account sees and sets of its credits; buying them is in `checkout`, what services take in `consuming`."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Request, Response, get, put
from litestar.params import Parameter

from api.access import ANY_KEY, needs
from api.auth import Principal
from api.credits.views import (
    BalanceView,
    HistoryView,
    OrderList,
    OrderView,
    PackageList,
    TopUpBody,
    TopUpView,
    balance_view,
    order_view,
    package_view,
    top_up_view,
    transaction_view,
)
from api.listing import LIMIT_DEFAULT, LIMIT_MAX, link_headers, page_of, parse_cursor
from api.services import Services
from domain.flow.set_auto_top_up import TopUpTerms, set_auto_top_up
from domain.model.audit import Actor
from domain.model.errors import Code, refuse
from domain.model.key_rules import KeyScope
from domain.store import credit_grants, credit_orders, top_ups
from domain.store.connection import account_transaction, transaction
from domain.store.credit_grants import Transaction, TransactionFilter

PREFIXES: Final = ("/v1/credits", "/subscription/credits")
TAGS: Final = ["credits"]
READ: Final = needs(KeyScope.BILLING_READ, KeyScope.BILLING_WRITE)
WRITE: Final = needs(KeyScope.BILLING_WRITE)
_Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MAX)]
_ORDERS: Final = "/v1/credits/orders"


def both(path: str) -> list[str]:
    """Return a path of ours and AuthorWorks' own."""
    return [f"{prefix}{path}" for prefix in PREFIXES]


@get(both("/packages"), access=ANY_KEY, tags=TAGS)
async def list_packages(services: Services, principal: Principal) -> PackageList:
    """List the credits that are for sale."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        packages = await credit_grants.packages_list(connection)
    return PackageList(packages=[package_view(package, services.settings.credit_micros) for package in packages])


@get(both("/balance"), access=READ, tags=TAGS)
async def show_balance(services: Services, principal: Principal) -> BalanceView:
    """Show what the account has of credits, what open casts hold of it, and what it had in all."""
    account_id = principal.account_id
    async with account_transaction(services.app_pool, account_id) as connection:
        balance = await credit_grants.balance_read(connection, account_id=account_id, now=services.now())
        user_id = await credit_grants.user_of_account(connection, account_id=account_id)
        wanted = await top_ups.top_up_get(connection, account_id=account_id)
    return balance_view(
        balance,
        user_id=user_id or account_id,
        credit_micros=services.settings.credit_micros,
        auto_top_up=wanted,
    )


@get(both("/history"), access=READ, tags=TAGS)
async def show_history(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    *,
    limit: _Limit = LIMIT_DEFAULT,
    cursor: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> Response[HistoryView]:
    """List every change of the balance, with the balance before and after it. Casts settled together are one change."""
    before = parse_cursor(cursor)
    wanted = TransactionFilter(
        before=None if before is None else before[1].int,
        created_after=created_after,
        created_before=created_before,
    )
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await credit_grants.transactions_list(
            connection, account_id=principal.account_id, wanted=wanted, limit=limit + 1
        )
    page, following = page_of(rows, limit, _place)
    views = [transaction_view(row, services.settings.credit_micros) for row in page]
    view = HistoryView(
        transactions=views, count=len(views), data=views, next_cursor=following, has_more=following is not None
    )
    query = {
        "limit": limit,
        "created_after": None if created_after is None else created_after.isoformat(),
        "created_before": None if created_before is None else created_before.isoformat(),
    }
    return Response(view, headers=link_headers(request.url.path, query, following))


def _place(row: Transaction) -> tuple[datetime, UUID]:
    return row.created_at, UUID(int=row.number)


@get(_ORDERS, access=READ, tags=TAGS)
async def list_orders(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    limit: _Limit = LIMIT_DEFAULT,
    cursor: str | None = None,
) -> Response[OrderList]:
    """List the account's orders, those that were never paid too."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await credit_orders.orders_list(
            connection, account_id=principal.account_id, before=parse_cursor(cursor), limit=limit + 1
        )
    page, following = page_of(rows, limit, lambda order: (order.created_at, order.id))
    view = OrderList(data=[order_view(row) for row in page], next_cursor=following, has_more=following is not None)
    return Response(view, headers=link_headers(request.url.path, {"limit": limit}, following))


@get(f"{_ORDERS}/{{order_id:uuid}}", access=READ, tags=TAGS)
async def show_order(services: Services, principal: Principal, order_id: UUID) -> OrderView:
    """Show one order."""
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        order = await credit_orders.order_get(connection, account_id=principal.account_id, order_id=order_id)
    if order is None:
        raise refuse(Code.NOT_FOUND, "This account has no order of that id.")
    return order_view(order)


@put(both("/auto-topup"), access=WRITE, tags=TAGS)
async def set_top_up(services: Services, principal: Principal, actor: Actor, data: TopUpBody) -> TopUpView:
    """Say when credits are bought by themselves; off until then. It needs a card that a checkout was let to keep.

    A payment that fails pauses it, until it is set again.
    """
    credit_micros = services.settings.credit_micros
    terms = TopUpTerms(
        enabled=data.enabled,
        package_id=data.package,
        threshold_micros=data.threshold * credit_micros,
        monthly_cap_cents=data.monthly_cap_cents,
    )
    async with transaction(services.engine_pool) as connection:
        wanted = await set_auto_top_up(
            connection, account_id=principal.account_id, terms=terms, credit_micros=credit_micros, actor=actor
        )
    return top_up_view(wanted, credit_micros)


ROUTES: Final = [list_packages, show_balance, show_history, list_orders, show_order, set_top_up]
