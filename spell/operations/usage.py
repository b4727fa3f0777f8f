"""What the account used: now, month by month, by spell, key or day, and as a file. Months are `2026-11`, in UTC.

`mode="test"` counts the casts of test keys instead of the live ones; a test key sees no others.
"""

from typing import Final

import msgspec

from spell.core.exchange import Reply, Request, query_of
from spell.core.operation import Operation, decoded, raw
from spell.models.usage import MonthUsage, UsageBreakdown, UsageNow

# A month of an account with millions of casts takes its time to write down.
_EXPORT_PATIENCE_S: Final = 120.0


class _Trends(msgspec.Struct, frozen=True, kw_only=True):
    data: tuple[MonthUsage, ...]


_now: Final = decoded(UsageNow)
_trends: Final = decoded(_Trends)
_breakdown: Final = decoded(UsageBreakdown)


def now(*, month: str | None = None, mode: str | None = None) -> Operation[UsageNow]:
    """Return what the account used of this month, or of another: casts, fuel, cost, who paid, and what is left."""
    query = query_of(month=month, mode=mode)
    return Operation(request=Request(method="GET", path="/v1/usage", query=query), decode=_now)


def trends(*, mode: str | None = None) -> Operation[tuple[MonthUsage, ...]]:
    """Return what the account used in each of six months, the present one last."""
    return Operation(request=Request(method="GET", path="/v1/usage/trends", query=query_of(mode=mode)), decode=_months)


def breakdown(*, by: str = "spell", month: str | None = None, mode: str | None = None) -> Operation[UsageBreakdown]:
    """Take a month apart, this one unless you say another, by `spell`, `key` or `day`."""
    query = query_of(by=by, month=month, mode=mode)
    return Operation(request=Request(method="GET", path="/v1/usage/breakdown", query=query), decode=_breakdown)


def export(
    *,
    format: str = "csv",  # noqa: A002  # the API's own name
    month: str | None = None,
    mode: str | None = None,
) -> Operation[bytes]:
    """Return every cast of a month that has ended, one row each, as a file: `csv` or `json`."""
    query = query_of(format=format, month=month, mode=mode)
    return Operation(
        request=Request(method="GET", path="/v1/usage/export", query=query),
        decode=raw,
        patience_s=_EXPORT_PATIENCE_S,
    )


def _months(reply: Reply) -> tuple[MonthUsage, ...]:
    return _trends(reply).data
