"""The earnings page of a creator: what is pending and payable, the last days, and each spell. Without a script."""

import html
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from litestar import Response, get

from api.auth import Principal
from api.login.finish import LOGIN_PAGE, redirect
from api.payouts.routes import PAGE as PAYOUTS_PAGE
from api.services import Services
from api.sessions.pages import page
from domain.model.earnings import COLLECTED_AFTER
from domain.store import earned
from domain.store.connection import snapshot
from domain.store.earned import EarnedBalance, EarnedPart

PAGE: Final = "/dashboard/earnings"
DAYS_SHOWN: Final = 30
SPELLS_SHOWN_MAX: Final = 20
_MICROS: Final = 1_000_000


@get(PAGE, include_in_schema=False)
async def earnings_page(services: Services, visitor: Principal | None) -> Response[str]:
    """Show whoever is signed in what his spells earned him."""
    if visitor is None or visitor.session_id is None:
        return redirect(f"{LOGIN_PAGE}?return_to={PAGE}")
    last = services.now().date()
    first = last - timedelta(days=DAYS_SHOWN - 1)
    account_id = visitor.account_id
    async with snapshot(services.engine_pool) as connection:  # amounts of one instant; the rows are the payers'
        balance = await earned.balance_read(connection, account_id=account_id)
        days = await earned.parts_read(
            connection, account_id=account_id, first=first, last=last, by_day=True, by_spell=False, limit=DAYS_SHOWN
        )
        spells = await earned.parts_read(
            connection, account_id=account_id, first=first, last=last, by_day=False, by_spell=True,
            limit=SPELLS_SHOWN_MAX,
        )  # fmt: skip
    return page("Earnings", "".join((_balance(balance), _spells(spells), _days(days))))


def _balance(balance: EarnedBalance) -> str:
    rows = [
        ("Pending", balance.pending_micros),
        ("Payable", balance.payable_micros),
        ("On its way to you", balance.under_way_micros),
        ("Paid", balance.paid_micros),
        ("Lost", balance.lost_micros),
    ]
    lines = "".join(f"<li>{name}: <strong>{_money(micros)}</strong></li>" for name, micros in rows)
    return (
        f"<h2>Balance</h2><ul>{lines}</ul><p>A share is payable once the invoice behind it is paid, or the credits"
        f" behind it were bought {COLLECTED_AFTER.days} days ago.</p>"
        f'<p><a href="{PAYOUTS_PAGE}">Payouts, and who is paid</a></p>'
    )


def _spells(parts: Sequence[EarnedPart]) -> str:
    rows = "".join(_row(part.spell or "", part) for part in parts)
    return f"<h2>Spells, the last {DAYS_SHOWN} days</h2>{_table('Spell', rows)}"


def _days(parts: Sequence[EarnedPart]) -> str:
    rows = "".join(_row(f"{part.day:%d %B}", part) for part in reversed(parts) if part.day is not None)
    return f"<h2>Days</h2>{_table('Day', rows)}"


def _table(what: str, rows: str) -> str:
    if not rows:
        return "<p>Nothing yet: <code>spell price</code> sets what a cast of your spell costs.</p>"
    return f"<table><tr><th>{what}</th><th>Casts</th><th>Earned</th><th>Refunded</th></tr>{rows}</table>"


def _row(name: str, part: EarnedPart) -> str:
    return (
        f"<tr><td>{html.escape(name)}</td><td>{part.casts:,}</td><td>{_money(part.earned_micros)}</td>"
        f"<td>{_money(part.refunded_micros)}</td></tr>"
    )


def _money(micros: int) -> str:
    """Write an amount exactly: at least cents, a micro where there is one."""
    whole, rest = divmod(abs(micros), _MICROS)
    digits = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}${whole:,}.{digits}"


ROUTES: Final[list[Any]] = [earnings_page]
