"""What a new key may be: the powers it can be given, and what it takes over from the key that makes it."""

import enum
from datetime import datetime
from typing import Final

import msgspec

from domain.model.errors import Code, Fault, refuse

NAME_CHARACTERS_MAX: Final = 100
# More than any deployment rotates through; a bound, because admission and dashboards list them.
KEYS_PER_ACCOUNT_MAX: Final = 200
RATE_LIMIT_RPM_MAX: Final = 1_000_000


class KeyScope(enum.StrEnum):
    """A power beyond what every key has (to cast, to read, to add or lower a budget)."""

    KEYS_WRITE = "keys:write"
    BUDGETS_WRITE = "budgets:write"
    SPELLS_WRITE = "spells:write"


class KeyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may do and how much of it. None is no bound of its own."""

    scopes: frozenset[str]
    rate_limit_rpm: int | None
    open_casts_max: int | None
    expires_at: datetime | None


def check_terms(terms: KeyTerms, now: datetime) -> None:
    """Raise RefusedError (validation) for terms that make no sense, whoever asks."""
    faults: list[Fault] = []
    unknown = sorted(terms.scopes - set(KeyScope))
    if unknown:
        fix = f"Use {', '.join(sorted(KeyScope))}."
        faults.append(Fault(location="scopes", message=f"there is no scope {unknown[0][:50]!r}", fix=fix))
    if terms.expires_at is not None and terms.expires_at <= now:
        faults.append(Fault(location="expires_at", message="it is in the past", fix="Choose a later time."))
    if faults:
        raise refuse(Code.VALIDATION, f"The key cannot be made: {faults[0].message}.", faults=tuple(faults))


def inherited(asked: KeyTerms, maker: KeyTerms, *, maker_has_budget: bool) -> KeyTerms:
    """Return the terms of a key made by a key: never more than its maker has, whatever was asked for.

    A key with a budget of its own makes no keys, because each would get the same amount again.
    Raises RefusedError (forbidden) for that, and for a scope the maker lacks.
    """
    if maker_has_budget:
        raise refuse(
            Code.FORBIDDEN,
            "This key has a budget of its own, so it makes no keys. Use a session, or a key without a budget.",
        )
    lacking = sorted(asked.scopes - maker.scopes)
    if lacking:
        raise refuse(Code.FORBIDDEN, f"This key lacks the scope '{lacking[0]}', so it cannot give it to another.")
    return KeyTerms(
        scopes=asked.scopes,
        rate_limit_rpm=_lowest(asked.rate_limit_rpm, maker.rate_limit_rpm),
        open_casts_max=_lowest(asked.open_casts_max, maker.open_casts_max),
        expires_at=_earliest(asked.expires_at, maker.expires_at),
    )


def _lowest(asked: int | None, bound: int | None) -> int | None:
    bounds = [value for value in (asked, bound) if value is not None]
    return min(bounds, default=None)


def _earliest(asked: datetime | None, bound: datetime | None) -> datetime | None:
    times = [value for value in (asked, bound) if value is not None]
    return min(times, default=None)
