"""API keys. All of it needs a session or a key with the scope `keys:write`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from spell.core.exchange import JSON, Request, json_body, query_of
from spell.core.listing import PAGE_SIZE_MAX, Listing, listing
from spell.core.names import segment
from spell.core.operation import Operation, decoded, nothing
from spell.models.keys import Key, KeyBudget, NewKey

_HEADERS: Final = {"content-type": JSON}
_key: Final = decoded(Key)
_new_key: Final = decoded(NewKey)


def create(
    name: str,
    *,
    mode: str = "live",
    scopes: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    rate_limit_rpm: int | None = None,
    open_casts_max: int | None = None,
    budget: KeyBudget | None = None,
    allowed_origins: Sequence[str] = (),
    idempotency_key: str | None = None,
) -> Operation[NewKey]:
    """Make an API key; `key` of the answer is the secret, shown this once.

    `scopes` are what it may do: `casts:write` and `casts:read` unless you say otherwise, and never more than the key
    that makes it. With `mode="test"` its casts run for real and cost nothing, of your own spells and of those without
    a creator's price. `allowed_origins` are the pages that may use it from a browser. When the first answer is lost on
    the way, the secret is too: the answer to the retry says `secret_available=False`, and `rotate` makes another.
    """
    body: dict[str, Any] = {"name": name, "allowed_origins": tuple(allowed_origins)}
    optional = {
        "scopes": scopes,
        "expires_at": expires_at,
        "rate_limit_rpm": rate_limit_rpm,
        "open_casts_max": open_casts_max,
        "budget": budget,
    }
    body |= {field: value for field, value in optional.items() if value is not None}
    if mode != "live":
        body["mode"] = mode
    return Operation(
        request=Request(method="POST", path="/v1/keys", headers=_HEADERS, body=json_body(body)),
        decode=_new_key,
        creates=True,
        idempotency_key=idempotency_key,
    )


def list_keys(*, page_size: int = PAGE_SIZE_MAX) -> Listing[Key]:
    """Return the account's keys that are not revoked, newest first."""
    return listing("/v1/keys", Key, query_of(limit=page_size))


def update(
    prefix: str,
    *,
    name: str | msgspec.UnsetType = msgspec.UNSET,
    scopes: Sequence[str] | msgspec.UnsetType = msgspec.UNSET,
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET,
    rate_limit_rpm: int | msgspec.UnsetType | None = msgspec.UNSET,
    open_casts_max: int | msgspec.UnsetType | None = msgspec.UNSET,
    allowed_origins: Sequence[str] | msgspec.UnsetType = msgspec.UNSET,
) -> Operation[Key]:
    """Change a key; what is left out stays, None takes a bound away."""
    given: dict[str, object] = {
        "name": name,
        "scopes": scopes,
        "expires_at": expires_at,
        "rate_limit_rpm": rate_limit_rpm,
        "open_casts_max": open_casts_max,
        "allowed_origins": allowed_origins,
    }
    body = json_body({field: value for field, value in given.items() if value is not msgspec.UNSET})
    return Operation(request=Request(method="PATCH", path=_path(prefix), headers=_HEADERS, body=body), decode=_key)


def rotate(prefix: str, *, grace_s: int | None = None, idempotency_key: str | None = None) -> Operation[NewKey]:
    """Give a key a new secret, shown this once; the old one is good for `grace_s` seconds more, a day by default.

    Budgets and counters stay with the key. 0 ends the old secret at once.
    """
    body = json_body({} if grace_s is None else {"grace_seconds": grace_s})
    return Operation(
        request=Request(method="POST", path=f"{_path(prefix)}/rotate", headers=_HEADERS, body=body),
        decode=_new_key,
        creates=True,
        idempotency_key=idempotency_key,
    )


def revoke(prefix: str) -> Operation[None]:
    """Revoke a key: from the answer on it casts nothing."""
    return Operation(request=Request(method="DELETE", path=_path(prefix)), decode=nothing)


def _path(prefix: str) -> str:
    return f"/v1/keys/{segment(prefix)}"
