"""The billing page of a person: plan, the month so far, budgets, credits, invoices. Without a script."""

import html
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, get, post

from api import weights
from api.access import SESSION_ONLY
from api.auth import Principal
from api.billing.routes import PAGE, checkout_url, portal_url
from api.billing.show import billing_view
from api.billing.views import BillingView
from api.login.finish import LOGIN_PAGE, redirect
from api.services import Services
from api.sessions.pages import page
from domain.model.budgets import Budget
from domain.model.credits import Balance
from domain.model.invoicing import dollars
from domain.model.plans import Plan
from domain.store import budgets, credit_grants, invoices
from domain.store.connection import account_transaction
from domain.store.invoices import InvoiceRow

INVOICES_SHOWN_MAX: Final = 12
_MICROS: Final = 1_000_000
_SUBSCRIBE: Final = f"{PAGE}/subscribe"
_PORTAL: Final = f"{PAGE}/portal"
_NOTES: Final = {
    "success": "Thank you. The plan changes as soon as Stripe confirms the payment, in a few seconds as a rule.",
    "canceled": "Nothing was bought.",
}


@get(PAGE, include_in_schema=False)
async def billing_page(services: Services, visitor: Principal | None, checkout: str | None = None) -> Response[str]:
    """Show how the account of whoever is signed in pays, and what it has spent."""
    if visitor is None or visitor.session_id is None:
        return redirect(f"{LOGIN_PAGE}?return_to={PAGE}")
    account_id, now = visitor.account_id, services.now()
    view = await billing_view(services, account_id)
    async with account_transaction(services.app_pool, account_id) as connection:
        limits = await budgets.budgets_list(connection, account_id=account_id, now=now)
        balance = await credit_grants.balance_read(connection, account_id=account_id, now=now)
        rows = await invoices.invoices_list(connection, account_id, before=None, since=None, limit=INVOICES_SHOWN_MAX)
    note = _NOTES.get(checkout or "")
    parts = [
        "" if note is None else f'<p role="status"><strong>{note}</strong></p>',
        _plan(view),
        _month(view),
        _limits(limits, account_id=account_id),
        _credits(balance),
        _invoices(rows),
        '<p><a href="/dashboard/payouts">What your spells are paid</a></p>',
    ]
    return page("Billing", "".join(parts))


@post(_SUBSCRIBE, status_code=200, include_in_schema=False, access=SESSION_ONLY, weight=weights.REACH_OUT)
async def subscribe(request: Request[Any, Any, Any], services: Services, principal: Principal) -> Response[str]:
    """Open Stripe's page to subscribe to the plan Pro, and lead there."""
    return _onward(await checkout_url(request, services, principal, Plan.PRO))


@post(_PORTAL, status_code=200, include_in_schema=False, access=SESSION_ONLY, weight=weights.REACH_OUT)
async def open_portal(request: Request[Any, Any, Any], services: Services, principal: Principal) -> Response[str]:
    """Open Stripe's page for cards, invoices and the end of the subscription, and lead there."""
    return _onward(await portal_url(request, services, principal))


def _onward(url: str) -> Response[str]:
    """Return a page with a link: our policy lets no form lead to another host."""
    return page(
        "On to Stripe",
        f'<p>Payments are made at Stripe; no card ever reaches us.</p><p><a href="{html.escape(url)}">Go on</a></p>'
        f'<p><a href="{PAGE}">Back to billing</a></p>',
    )


def _plan(view: BillingView) -> str:
    lines = [f"<h2>Plan</h2><p><strong>{html.escape(view.plan.capitalize())}</strong>"]
    if not view.billing_enabled:
        lines.append(": this account is not billed.</p>")
        return "".join(lines)
    lines.append(f" ({html.escape(view.status)})</p>" if view.status != "none" else "</p>")
    if view.spend_paused:
        lines.append("<p>All spending is paused: casts are refused until <code>spell billing resume</code>.</p>")
    if view.payment_overdue and view.grace_until is not None:
        lines.append(f"<p><strong>A payment failed.</strong> Metered casts go on until {view.grace_until:%d %B}.</p>")
    if view.ends_at is not None:
        lines.append(f"<p>The subscription ends on {view.ends_at:%d %B %Y}.</p>")
    if view.status in {"none", "canceled", "incomplete_expired"}:
        lines.append(_button(_SUBSCRIBE, "Subscribe to Pro"))
    else:
        lines.append(_button(_PORTAL, "Cards, receipts, cancellation"))
    return "".join(lines)


def _month(view: BillingView) -> str:
    free = view.free
    return (
        f"<h2>This month</h2><p>{_money(view.spent_micros)} spent, {_money(view.held_micros)} held for open casts.</p>"
        f"<p>{free.used} of {free.limit} free casts used. {_meter(free.used, free.limit)}</p>"
    )


def _limits(limits: Sequence[Budget], *, account_id: UUID) -> str:
    lines = [_limit(budget, account_id=account_id) for budget in limits if budget.hard_limit_micros is not None]
    if not lines:
        return "<h2>Budgets</h2><p>None: <code>spell budgets set --period monthly --hard 20</code> makes one.</p>"
    return f"<h2>Budgets</h2><ul>{''.join(lines)}</ul>"


def _limit(budget: Budget, *, account_id: UUID) -> str:
    assert budget.hard_limit_micros is not None
    taken = budget.spent_micros + budget.held_micros
    whose = "account" if budget.scope_id == account_id else f"{budget.scope} {budget.scope_id}"
    return (
        f"<li>{budget.period.value}, {whose}: {_money(taken)} of {_money(budget.hard_limit_micros)}"
        f" {_meter(taken, budget.hard_limit_micros)}</li>"
    )


def _credits(balance: Balance) -> str:
    return (
        f"<h2>Credits</h2><p>{_money(balance.balance_micros)} left, {_money(balance.held_micros)} of it held."
        " <code>spell credits packages</code> lists what is for sale.</p>"
    )


def _invoices(rows: Sequence[InvoiceRow]) -> str:
    if not rows:
        return "<h2>Invoices</h2><p>None yet.</p>"
    return f"<h2>Invoices</h2><ul>{''.join(map(_invoice, rows))}</ul>"


def _invoice(row: InvoiceRow) -> str:
    link = f' <a href="{html.escape(row.hosted_url)}">open</a>' if row.hosted_url is not None else ""
    return f"<li>{row.period:%B %Y}: {dollars(row.total_cents)}, {html.escape(row.status)}{link}</li>"


def _button(action: str, words: str) -> str:
    return f'<form method="post" action="{action}"><button>{words}</button></form>'


def _meter(value: int, most: int) -> str:
    return f'<meter min="0" max="{max(most, 1)}" value="{value}">{value} of {most}</meter>'


def _money(micros: int) -> str:
    """Write an amount exactly: at least cents, a micro where there is one."""
    whole, rest = divmod(micros, _MICROS)
    digits = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"${whole:,}.{digits}"


ROUTES: Final = [billing_page, subscribe, open_portal]
