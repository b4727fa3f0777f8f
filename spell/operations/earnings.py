"""What the account's spells earned it: in all, by day, by spell, and as a file. Days are in UTC, both ends included."""

from datetime import date
from typing import Final

from spell.core.exchange import Request, query_of
from spell.core.operation import Operation, decoded, raw
from spell.models.earnings import EarnedDays, EarnedSpells, Earnings

_earnings: Final = decoded(Earnings)
_days: Final = decoded(EarnedDays)
_spells: Final = decoded(EarnedSpells)


def now() -> Operation[Earnings]:
    """Return what is pending, payable and paid, and what each of the last six months brought."""
    return Operation(request=Request(method="GET", path="/v1/earnings"), decode=_earnings)


def daily(*, first: date | None = None, last: date | None = None) -> Operation[EarnedDays]:
    """Return what each day brought, from `first` to `last`: the last 30 days unless you say others, a year at most."""
    return Operation(request=_request("/daily", first, last), decode=_days)


def by_spell(*, first: date | None = None, last: date | None = None) -> Operation[EarnedSpells]:
    """Return what each spell brought in these days."""
    return Operation(request=_request("/spells", first, last), decode=_spells)


def export(*, first: date | None = None, last: date | None = None) -> Operation[bytes]:
    """Return a row for each spell on each of these days, as CSV."""
    return Operation(request=_request("/export", first, last), decode=raw)


def _request(path: str, first: date | None, last: date | None) -> Request:
    query = (*query_of(**{"from": first}), *query_of(to=last))
    return Request(method="GET", path=f"/v1/earnings{path}", query=query)
