"""What the account used: now, month by month, by spell, key or day, and as a file."""

from typing import Any, Final

from spell.core.exchange import Request, query_of
from spell.core.operation import Operation, decoded, raw

_members: Final = decoded(dict[str, Any])
# A month of an account with millions of casts takes its time to write down.
_EXPORT_PATIENCE_S: Final = 120.0


def now() -> Operation[dict[str, Any]]:
    """Return what the account used of this month."""
    return Operation(request=Request(method="GET", path="/v1/usage"), decode=_members)


def trends() -> Operation[dict[str, Any]]:
    """Return what the account used in each of the last six months."""
    return Operation(request=Request(method="GET", path="/v1/usage/trends"), decode=_members)


def breakdown(*, by: str = "spell", period: str | None = None) -> Operation[dict[str, Any]]:
    """Return the usage of a month (`2026-11`; this one by default) by `spell`, `key` or `day`."""
    query = query_of(by=by, period=period)
    return Operation(request=Request(method="GET", path="/v1/usage/breakdown", query=query), decode=_members)


def export(*, format: str = "csv", period: str | None = None) -> Operation[bytes]:  # noqa: A002  # the API's own name
    """Return the usage of a month as a file, `csv` or `json`."""
    query = query_of(format=format, period=period)
    return Operation(
        request=Request(method="GET", path="/v1/usage/export", query=query),
        decode=raw,
        patience_s=_EXPORT_PATIENCE_S,
    )
