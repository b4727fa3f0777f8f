"""What a key may be: the powers it can be given, and why none ends up with more than whoever gave them."""

import enum
from datetime import datetime
from typing import Final

import msgspec

from domain.model.errors import Code, Fault, RefusedError, refuse
from domain.model.origins import is_origin

NAME_CHARACTERS_MAX: Final = 100
# More than any deployment rotates through; a bound, because admission and dashboards list them.
KEYS_PER_ACCOUNT_MAX: Final = 200
RATE_LIMIT_RPM_MAX: Final = 1_000_000
# Pages of one product: production, staging, a few machines of developers.
ORIGINS_PER_KEY_MAX: Final = 20
# Long enough for a deployment that happens once a day; a week for those that need a maintenance window.
GRACE_S_DEFAULT: Final = 24 * 3600
GRACE_S_MAX: Final = 7 * 24 * 3600


class KeyScope(enum.StrEnum):
    """A power of a key. Without any it still reads budgets and adds or lowers limits: nobody is kept from saving."""

    CASTS_WRITE = "casts:write"
    CASTS_READ = "casts:read"
    SPELLS_WRITE = "spells:write"
    KEYS_WRITE = "keys:write"
    BUDGETS_WRITE = "budgets:write"
    WEBHOOKS_WRITE = "webhooks:write"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    SERVICE = "service"
    ADMIN = "admin"


# What a key gets when nothing is said: what nearly all are for.
SCOPES_DEFAULT: Final[frozenset[str]] = frozenset({KeyScope.CASTS_WRITE, KeyScope.CASTS_READ})
# Powers over other accounts: a session has none of them, so that nobody can give them to himself.
OPERATOR_SCOPES: Final[frozenset[str]] = frozenset({KeyScope.SERVICE, KeyScope.ADMIN})
ACCOUNT_SCOPES: Final[frozenset[str]] = frozenset(KeyScope) - OPERATOR_SCOPES


class KeyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may do and how much of it. None is no bound of its own, and no origins is every origin."""

    scopes: frozenset[str]
    rate_limit_rpm: int | None
    open_casts_max: int | None
    expires_at: datetime | None
    allowed_origins: tuple[str, ...] = ()


class KeyChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a key; UNSET stays, None takes the bound away."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    scopes: frozenset[str] | msgspec.UnsetType = msgspec.UNSET
    rate_limit_rpm: int | msgspec.UnsetType | None = msgspec.UNSET
    open_casts_max: int | msgspec.UnsetType | None = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    allowed_origins: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


def check_terms(terms: KeyTerms, now: datetime) -> None:
    """Raise RefusedError (validation) for terms that make no sense, whoever asks."""
    faults: list[Fault] = []
    unknown = sorted(terms.scopes - set(KeyScope))
    if unknown:
        fix = f"Use {', '.join(sorted(KeyScope))}."
        faults.append(Fault(location="scopes", message=f"there is no scope {unknown[0][:50]!r}", fix=fix))
    if terms.expires_at is not None and terms.expires_at <= now:
        faults.append(Fault(location="expires_at", message="it is in the past", fix="Choose a later time."))
    faults += _origin_faults(terms.allowed_origins)
    if faults:
        raise refuse(Code.VALIDATION, f"The key cannot be so: {faults[0].message}.", faults=tuple(faults))


def _origin_faults(origins: tuple[str, ...]) -> list[Fault]:
    if len(origins) > ORIGINS_PER_KEY_MAX:
        fix = f"Give at most {ORIGINS_PER_KEY_MAX}."
        return [Fault(location="allowed_origins", message=f"there are {len(origins)} of them", fix=fix)]
    fix = "Write scheme, host and port as a browser does, in lower case: https://app.example.com"
    return [
        Fault(location=f"allowed_origins.{place}", message=f"{origin[:80]!r} is no origin of a page", fix=fix)
        for place, origin in enumerate(origins)
        if not is_origin(origin)
    ]


def check_given(added: frozenset[str], powers: frozenset[str]) -> None:
    """Raise RefusedError (forbidden) unless whoever has `powers` may give the scopes `added` to a key."""
    lacking = sorted(added - powers)
    if not lacking:
        return
    if lacking[0] in OPERATOR_SCOPES:
        raise refuse(Code.FORBIDDEN, f"Only the platform's operator gives the scope '{lacking[0]}' to a key.")
    raise refuse(Code.FORBIDDEN, f"You lack the scope '{lacking[0]}', so you cannot give it to a key.")


def inherited(asked: KeyTerms, maker: KeyTerms, *, maker_has_budget: bool) -> KeyTerms:
    """Return the terms of a key made by a key: never more than its maker has, whatever was asked for.

    A key with a budget of its own makes no keys, because each would get the same amount again.
    Raises RefusedError (forbidden) for that, for a scope the maker lacks and for an origin that is not the maker's.
    """
    if maker_has_budget:
        raise refuse(
            Code.FORBIDDEN,
            "This key has a budget of its own, so it makes no keys. Use a session, or a key without a budget.",
        )
    check_given(asked.scopes, maker.scopes)
    terms = KeyTerms(
        scopes=asked.scopes,
        rate_limit_rpm=_lowest(asked.rate_limit_rpm, maker.rate_limit_rpm),
        open_casts_max=_lowest(asked.open_casts_max, maker.open_casts_max),
        expires_at=_earliest(asked.expires_at, maker.expires_at),
        allowed_origins=asked.allowed_origins or maker.allowed_origins,
    )
    _check_not_above(terms, maker)
    return terms


def changed(terms: KeyTerms, change: KeyChange) -> KeyTerms:
    """Return the terms after a change."""
    wanted = {
        field: value for field in KeyTerms.__struct_fields__ if (value := getattr(change, field)) is not msgspec.UNSET
    }
    return msgspec.structs.replace(terms, **wanted)


def check_changed_by_key(before: KeyTerms, after: KeyTerms, changer: KeyTerms) -> None:
    """Raise RefusedError (forbidden) when a key with the terms `changer` makes another, or itself, more than it is.

    It may always make less of a key; more only up to what it has itself, and so never more of itself.
    """
    check_given(after.scopes - before.scopes, changer.scopes)
    for bound in excess(after, before):
        if bound != "scopes" and bound in excess(after, changer):
            raise _above(bound)


def check_taken_by_key(target: KeyTerms, taker: KeyTerms, *, taker_has_budget: bool) -> None:
    """Raise RefusedError (forbidden) when a key would get the secret of a key that may do more than itself."""
    if taker_has_budget:
        raise refuse(
            Code.FORBIDDEN,
            "This key has a budget of its own, so it may only rotate itself. Use a session, or a key without one.",
        )
    _check_not_above(target, taker)


def excess(terms: KeyTerms, bound: KeyTerms) -> list[str]:
    """Return the fields in which `terms` allow more than `bound` does."""
    above = {
        "scopes": not terms.scopes <= bound.scopes,
        "rate_limit_rpm": _is_above(terms.rate_limit_rpm, bound.rate_limit_rpm),
        "open_casts_max": _is_above(terms.open_casts_max, bound.open_casts_max),
        "expires_at": bound.expires_at is not None
        and (terms.expires_at is None or terms.expires_at > bound.expires_at),
        "allowed_origins": bool(bound.allowed_origins)
        and not (terms.allowed_origins and set(terms.allowed_origins) <= set(bound.allowed_origins)),
    }
    return [field for field, found in above.items() if found]


def _check_not_above(terms: KeyTerms, bound: KeyTerms) -> None:
    for field in excess(terms, bound):
        raise _above(field)


def _above(field: str) -> RefusedError:
    return refuse(
        Code.FORBIDDEN,
        f"This key's own '{field}' allows less than that. Use a session, or a key that has as much itself.",
    )


def _is_above(value: int | None, bound: int | None) -> bool:
    return bound is not None and (value is None or value > bound)


def _lowest(asked: int | None, bound: int | None) -> int | None:
    bounds = [value for value in (asked, bound) if value is not None]
    return min(bounds, default=None)


def _earliest(asked: datetime | None, bound: datetime | None) -> datetime | None:
    times = [value for value in (asked, bound) if value is not None]
    return min(times, default=None)
