"""The payouts page of a creator: what is owed, whether he can be paid, what was paid. Without a script."""

import html
from collections.abc import Sequence
from typing import Any, Final

from litestar import Request, Response, get, post

from api import weights
from api.access import SESSION_ONLY
from api.auth import Principal
from api.login.finish import LOGIN_PAGE, redirect
from api.payouts.routes import PAGE, dashboard_link, onboarding_link, payout_account
from api.payouts.views import PayoutAccountView, PayoutView, payout_view
from api.services import Services
from api.sessions.pages import page
from domain.model.audit import Actor
from domain.model.invoicing import dollars
from domain.model.payouts import HELD_BACK, PAYS_ON_DAY
from domain.model.pricing import MICROS_PER_CENT
from domain.store import payouts
from domain.store.connection import account_transaction

PAYOUTS_SHOWN_MAX: Final = 12
_ONBOARD: Final = f"{PAGE}/onboarding"
_DASHBOARD: Final = f"{PAGE}/stripe"
_NOTES: Final = {
    "done": "Thank you. Stripe may take a moment to look at what you said; this page shows how it stands.",
    "again": "That link was used, or is too old. Get another one below: what you said so far is kept.",
}


@get(PAGE, include_in_schema=False)
async def payouts_page(services: Services, visitor: Principal | None, onboarding: str | None = None) -> Response[str]:
    """Show whoever is signed in what his spells earned him, and how it is paid."""
    if visitor is None or visitor.session_id is None:
        return redirect(f"{LOGIN_PAGE}?return_to={PAGE}")
    view = await payout_account(services, visitor.account_id)
    async with account_transaction(services.app_pool, visitor.account_id) as connection:
        rows = await payouts.payouts_list(
            connection, visitor.account_id, before=None, since=None, limit=PAYOUTS_SHOWN_MAX
        )
    note = _NOTES.get(onboarding or "")
    parts = [
        "" if note is None else f'<p role="status"><strong>{note}</strong></p>',
        _owed(view),
        _account(view, is_on=services.stripe is not None),
        _history([payout_view(row) for row in rows]),
        '<p><a href="/dashboard/earnings">What you earn</a>, <a href="/dashboard/billing">what you pay</a></p>',
    ]
    return page("Payouts", "".join(parts))


@post(_ONBOARD, status_code=200, include_in_schema=False, access=SESSION_ONLY, weight=weights.REACH_OUT)
async def open_onboarding_page(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor
) -> Response[str]:
    """Open Stripe's page, and lead there."""
    return _onward((await onboarding_link(request, services, principal, actor, None)).url)


@post(_DASHBOARD, status_code=200, include_in_schema=False, access=SESSION_ONLY, weight=weights.REACH_OUT)
async def open_dashboard_page(services: Services, principal: Principal) -> Response[str]:
    """Open the creator's dashboard at Stripe, and lead there."""
    return _onward(await dashboard_link(services, principal.account_id))


def _onward(url: str) -> Response[str]:
    """Return a page with a link: our policy lets no form lead to another host."""
    return page(
        "On to Stripe",
        f"<p>Stripe asks who you are and where your bank is; none of it reaches us. The link is good for minutes and"
        f' for one visit.</p><p><a href="{html.escape(url)}">Go on</a></p><p><a href="{PAGE}">Back to payouts</a></p>',
    )


def _owed(view: PayoutAccountView) -> str:
    if view.payable_micros < 0:
        amount = dollars(-view.payable_micros // MICROS_PER_CENT)
        return f"<h2>Payable</h2><p>{amount} were taken back after they were paid: the next payouts are less by it.</p>"
    held = ""
    if view.held_back_micros:
        amount = dollars(view.held_back_micros // MICROS_PER_CENT)
        held = f" {amount} of it became payable in the last {HELD_BACK.days} days, and waits for the payout after that."
    return (
        f"<h2>Payable</h2><p><strong>{dollars(view.payable_micros // MICROS_PER_CENT)}</strong>, paid on the"
        f" {PAYS_ON_DAY}th of the month, from {dollars(view.paid_from_cents)} on.{held}</p>"
    )


def _account(view: PayoutAccountView, *, is_on: bool) -> str:
    words = {
        "none": "Stripe pays you, and does not know you yet.",
        "incomplete": "You have not gone through Stripe's page yet.",
        "active": "You can be paid.",
        "disabled": f"Stripe wants to know more before you can be paid ({view.disabled_reason or 'it is looking'}).",
    }[view.status]
    if not is_on:
        return "<h2>Your account at Stripe</h2><p>This platform pays nobody: it has no keys of Stripe.</p>"
    buttons = [] if view.status == "active" else [(_ONBOARD, "Go on at Stripe")]
    if view.status in {"active", "disabled"}:
        buttons.append((_DASHBOARD, "Your dashboard at Stripe"))
    forms = "".join(f'<form method="post" action="{action}"><button>{name}</button></form>' for action, name in buttons)
    return f"<h2>Your account at Stripe</h2><p>{html.escape(words)}</p>{forms}"


def _history(rows: Sequence[PayoutView]) -> str:
    if not rows:
        return "<h2>Payouts</h2><p>None yet.</p>"
    lines = [f"<li>{row.period}: {dollars(row.amount_cents)}, {row.status}{_back(row)}</li>" for row in rows]
    return f"<h2>Payouts</h2><ul>{''.join(lines)}</ul>"


def _back(row: PayoutView) -> str:
    if row.status == "paid" and row.reversed_cents:
        return f", of which {dollars(row.reversed_cents)} were taken back"
    return ""


ROUTES: Final[list[Any]] = [payouts_page, open_onboarding_page, open_dashboard_page]
