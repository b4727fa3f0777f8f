"""GET /v1/earnings and what is under it."""

import csv
import io
from datetime import date, timedelta
from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.params import QueryParameter

from api import weights
from api.access import needs
from api.auth import Principal
from api.earnings.views import (
    EarnedDays,
    EarnedSpells,
    EarningsView,
    day_view,
    earnings_view,
    spell_view,
    sums_of,
)
from api.errors import invalid
from api.services import Services
from domain.model.errors import Fault, RefusedError
from domain.model.key_rules import KeyScope
from domain.model.periods import month_of
from domain.model.usage import months_until, plain_cell
from domain.store import earned
from domain.store.connection import snapshot, transaction
from domain.store.earned import EarnedPart

MONTHS_SHOWN: Final = 6
DAYS_DEFAULT: Final = 30
# A year and a day: the same day a year ago is among them.
DAYS_MAX: Final = 367
# More spells than a page shows or a person reads; the export has them all.
SPELLS_SHOWN_MAX: Final = 1_000
# Of days and spells on which something happened: an answer of 10 MB at most.
EXPORT_ROWS_MAX: Final = 100_000
# Far from where dates end, so that a day can be added.
_EARLIEST: Final = date(2000, 1, 1)
_LATEST: Final = date(2999, 12, 31)
_READ: Final = needs(KeyScope.BILLING_READ, KeyScope.BILLING_WRITE)
_TAGS: Final = ["earnings"]
_FIRST: Final = "`YYYY-MM-DD`: the first day, in UTC. Default: 29 days before `to`."
_From = Annotated[str | None, QueryParameter(name="from", description=_FIRST)]
_To = Annotated[
    str | None, QueryParameter(name="to", description="`YYYY-MM-DD`: the last day, in UTC. Default: today.")
]


@get("/v1/earnings", access=_READ, weight=weights.SUM_UP, tags=_TAGS)
async def show_earnings(services: Services, principal: Principal) -> EarningsView:
    """Show what the account's spells earned it: pending, payable, paid, and month by month."""
    shown = months_until(month_of(services.now()), MONTHS_SHOWN)
    async with snapshot(services.engine_pool) as connection:  # amounts of one instant; the rows are the payers'
        balance = await earned.balance_read(connection, account_id=principal.account_id)
        months = await earned.months_read(connection, account_id=principal.account_id, first=shown[0])
    return earnings_view(balance, months, shown)


@get("/v1/earnings/daily", access=_READ, weight=weights.SUM_UP, tags=_TAGS)
async def show_days(services: Services, principal: Principal, from_: _From = None, to: _To = None) -> EarnedDays:
    """Show what was earned on each day of up to a year."""
    first, last = _days(services, from_, to)
    parts = await _parts(services, principal, first, last, by_day=True, by_spell=False, limit=DAYS_MAX)
    by_day = {part.day: part for part in parts}
    days = [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
    return EarnedDays(data=[day_view(day, by_day.get(day)) for day in days], total=sums_of(parts))


@get("/v1/earnings/spells", access=_READ, weight=weights.SUM_UP, tags=_TAGS)
async def show_spells(services: Services, principal: Principal, from_: _From = None, to: _To = None) -> EarnedSpells:
    """Show what each spell earned in up to a year, whatever earned most first."""
    first, last = _days(services, from_, to)
    parts = await _parts(services, principal, first, last, by_day=False, by_spell=True, limit=SPELLS_SHOWN_MAX + 1)
    shown = parts[:SPELLS_SHOWN_MAX]
    views = [spell_view(part) for part in shown]
    return EarnedSpells(data=views, total=sums_of(shown), has_more=len(parts) > len(shown))


@get("/v1/earnings/export", access=_READ, weight=weights.EXPORT, tags=_TAGS, media_type="text/csv")
async def export_earnings(
    services: Services, principal: Principal, from_: _From = None, to: _To = None
) -> Response[bytes]:
    """Download what each spell earned on each day, as CSV: a row a day and spell."""
    first, last = _days(services, from_, to)
    parts = await _parts(services, principal, first, last, by_day=True, by_spell=True, limit=EXPORT_ROWS_MAX + 1)
    if len(parts) > EXPORT_ROWS_MAX:
        message = f"there are more than {EXPORT_ROWS_MAX} rows"
        raise RefusedError(invalid([Fault(location="from", message=message, fix="Ask for fewer days at once.")]))
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("date", "spell", "casts", "earned_micros", "refunded_micros"))
    rows.writerows(
        (part.day, plain_cell(part.spell or ""), part.casts, part.earned_micros, part.refunded_micros) for part in parts
    )
    return Response(
        text.getvalue().encode(),
        media_type="text/csv; charset=utf-8; header=present",
        headers={"content-disposition": f'attachment; filename="earnings-{first}-{last}.csv"'},
    )


async def _parts(
    services: Services, principal: Principal, first: date, last: date, *, by_day: bool, by_spell: bool, limit: int
) -> list[EarnedPart]:
    async with transaction(services.engine_pool) as connection:  # the rows are the payers'
        return await earned.parts_read(
            connection,
            account_id=principal.account_id,
            first=first,
            last=last,
            by_day=by_day,
            by_spell=by_spell,
            limit=limit,
        )


def _days(services: Services, from_: str | None, to: str | None) -> tuple[date, date]:
    """Return the days that are asked for. Raises RefusedError (validation) when they are none, or too many."""
    last = services.now().date() if to is None else _day("to", to)
    first = last - timedelta(days=DAYS_DEFAULT - 1) if from_ is None else _day("from", from_)
    if first > last:
        fault = Fault(location="from", message=f"{first} is after {last}", fix="Name a day before `to`.")
        raise RefusedError(invalid([fault]))
    if (last - first).days >= DAYS_MAX:
        fix = f"Ask for at most {DAYS_MAX} days at once."
        raise RefusedError(invalid([Fault(location="from", message="these are too many days", fix=fix)]))
    return first, last


def _day(location: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or not _EARLIEST <= day <= _LATEST:
        fault = Fault(location=location, message="it is no day there could be", fix="Write it like 2026-11-01.")
        raise RefusedError(invalid([fault]))
    return day


ROUTES: Final[list[Any]] = [show_earnings, show_days, show_spells, export_earnings]
