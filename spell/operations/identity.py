"""Who a key belongs to."""

from typing import Final

import msgspec

from spell.core.exchange import Request
from spell.core.operation import Operation, decoded, nothing


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The account behind a key, and what the key may."""

    account_id: str
    handle: str
    """The owner in `owner/name` of its spells."""
    key_prefix: str | None = None
    """None for a session."""
    mode: str = "live"
    """`test`: a test key."""
    scopes: tuple[str, ...] = ()


_identity: Final = decoded(Identity)


def whoami() -> Operation[Identity]:
    """Return whose key it is. Unauthorized when it is nobody's."""
    return Operation(request=Request(method="GET", path="/auth/me"), decode=_identity)


def sign_out() -> Operation[None]:
    """End the session that asks. Unauthorized when it had ended; Forbidden for a key."""
    return Operation(request=Request(method="POST", path="/auth/logout"), decode=nothing)
