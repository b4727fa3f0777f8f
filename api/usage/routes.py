"""GET /v1/usage and what is under it; numbers come from the counters, which equal the ledger at any instant."""

from datetime import date
from typing import Annotated, Any, Final

from litestar import get
from litestar.params import Parameter
from litestar.response import Stream

from api import weights
from api.access import needs
from api.auth import Principal
from api.budgets.views import budget_view
from api.errors import invalid
from api.modes import seen_mode
from api.services import Services
from api.usage.export import csv_export, json_export
from api.usage.views import (
    Breakdown,
    ExportFormat,
    FreeAllowance,
    FundingUsage,
    Grouping,
    MonthView,
    Part,
    TallyView,
    TestAllowance,
    Trends,
    UsageView,
    month_text,
    sums,
)
from domain.model.errors import Fault, RefusedError
from domain.model.key_rules import KeyScope
from domain.model.modes import TEST_CASTS_PER_MONTH_MAX, Mode
from domain.model.periods import Period, month_of, resets_at
from domain.model.usage import Tally, days_of, months_until, parse_month
from domain.store import budgets, usage
from domain.store.connection import Connection, account_transaction, snapshot
from domain.store.usage import SubjectUsage

TRENDS_MONTHS: Final = 6
# More spells in a month than a page shows or a person reads; the export has them all.
SPELLS_SHOWN_MAX: Final = 1_000
# What was used is seen by whoever sees the casts, and by whoever sees the bill.
_READ: Final = needs(KeyScope.CASTS_READ, KeyScope.BILLING_READ, test_keys=True)
_Month = Annotated[str | None, Parameter(description="`YYYY-MM`; left out: the present month, in UTC.")]


@get(["/v1/usage", "/api/usage"], access=_READ, tags=["usage"])
async def show_usage(
    services: Services, principal: Principal, month: _Month = None, mode: Mode | None = None
) -> UsageView:
    """Show what the account used of a month: casts, fuel, CPU time, cost, who paid, and what is left."""
    now = services.now()
    first = _month(month, month_of(now))
    shown = seen_mode(principal, mode)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await usage.months_read(connection, account_id=principal.account_id, first=first, last=first, mode=shown)
        allowance = await usage.allowance_read(connection, account_id=principal.account_id, month=first)
        alive = await budgets.budgets_list(connection, account_id=principal.account_id, now=now)
    own = next((row for row in alive if row.scope == "account" and row.period is Period.MONTHLY), None)
    test = shown is Mode.TEST
    return UsageView(
        **sums(_total([row.tally for row in rows])),
        month=month_text(first),
        mode=shown,
        by_funding=[FundingUsage(**sums(row.tally), funding=row.funding) for row in rows],
        held_micros=0 if test else allowance.held_micros,
        free_allowance=None if test else _free(allowance, services.settings.free_tier_runs_limit),
        test_allowance=_test(allowance) if test else None,
        budget=None if test or own is None else budget_view(own, now),
        resets_at=resets_at(Period.MONTHLY, now),
    )


@get(["/v1/usage/trends", "/api/usage/trends"], access=_READ, weight=weights.SUM_UP, tags=["usage"])
async def show_trends(services: Services, principal: Principal, mode: Mode | None = None) -> Trends:
    """Show six months, the present one last."""
    months = months_until(month_of(services.now()), TRENDS_MONTHS)
    shown = seen_mode(principal, mode)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await usage.months_read(
            connection, account_id=principal.account_id, first=months[0], last=months[-1], mode=shown
        )
    return Trends(
        mode=shown,
        data=[
            MonthView(**sums(_total([row.tally for row in rows if row.month == month])), month=month_text(month))
            for month in months
        ],
    )


@get(["/v1/usage/breakdown", "/api/usage/breakdown"], access=_READ, weight=weights.SUM_UP, tags=["usage"])
async def show_breakdown(
    services: Services,
    principal: Principal,
    by: Grouping = "spell",
    month: _Month = None,
    mode: Mode | None = None,
) -> Breakdown:
    """Take a month apart by spell, key or day."""
    now = services.now()
    first = _month(month, month_of(now))
    shown = seen_mode(principal, mode)
    async with snapshot(services.engine_pool) as connection:  # parts and whole of one instant
        days = await usage.days_read(connection, account_id=principal.account_id, month=first, mode=shown)
        total = _total(list(days.values()))
        parts, has_more = await _parts(connection, principal, by, month=first, total=total, mode=shown)
    if by == "day":
        parts = [
            Part(**sums(days.get(day, Tally())), id=None, name=day.isoformat(), label="")
            for day in days_of(first, now.date())
        ]
    return Breakdown(
        month=month_text(first), mode=shown, by=by, total=TallyView(**sums(total)), data=parts, has_more=has_more
    )


@get(["/v1/usage/export", "/api/usage/export"], access=_READ, weight=weights.EXPORT, tags=["usage"])
async def export_usage(
    services: Services,
    principal: Principal,
    format: ExportFormat = "csv",  # noqa: A002  # the contract's name
    month: _Month = None,
    mode: Mode | None = None,
) -> Stream:
    """Download every cast of a month that has ended, one row each."""
    first = _month(month, month_of(services.now()))
    shown = seen_mode(principal, mode)
    name = f"usage-{month_text(first)}{'-test' if shown is Mode.TEST else ''}.{format}"
    export = csv_export if format == "csv" else json_export
    return Stream(
        export(services.engine_pool, principal.account_id, first, shown),
        media_type="text/csv; charset=utf-8; header=present" if format == "csv" else "application/json",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


async def _parts(
    connection: Connection, principal: Principal, by: Grouping, *, month: date, total: Tally, mode: Mode
) -> tuple[list[Part], bool]:
    """Return the parts of a month by spell or key, and whether there are more of them."""
    if by == "spell":
        rows = await usage.spells_read(
            connection, account_id=principal.account_id, month=month, limit=SPELLS_SHOWN_MAX + 1, mode=mode
        )
        return [_part(row) for row in rows[:SPELLS_SHOWN_MAX]], len(rows) > SPELLS_SHOWN_MAX
    if by == "day":
        return [], False
    rows = await usage.keys_read(connection, account_id=principal.account_id, month=month, mode=mode)
    parts = [_part(row) for row in rows]
    keyless = total - _total([row.tally for row in rows])
    if keyless.casts:
        parts.append(Part(**sums(keyless), id=None, name="", label="without a key"))
    return parts, False


def _free(allowance: usage.Allowance, limit: int) -> FreeAllowance:
    used, held = allowance.free_used, allowance.free_held
    return FreeAllowance(limit=limit, used=used, held=held, left=max(0, limit - used - held))


def _test(allowance: usage.Allowance) -> TestAllowance:
    used = allowance.test_casts
    return TestAllowance(limit=TEST_CASTS_PER_MONTH_MAX, used=used, left=max(0, TEST_CASTS_PER_MONTH_MAX - used))


def _part(row: SubjectUsage) -> Part:
    return Part(**sums(row.tally), id=row.id, name=row.name, label=row.label)


def _total(tallies: list[Tally]) -> Tally:
    return sum(tallies, start=Tally())


def _month(text: str | None, present: date) -> date:
    month = present if text is None else parse_month(text)
    if month is None:
        raise RefusedError(invalid([Fault(location="month", message="it is no month", fix="Write it like 2026-11.")]))
    return month


ROUTES: Final[list[Any]] = [show_usage, show_trends, show_breakdown, export_usage]
