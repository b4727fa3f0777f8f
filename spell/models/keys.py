"""API keys."""

from datetime import datetime

import msgspec


class KeyBudget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A limit of a new key's own, in cents of a US dollar."""

    period: str = "monthly"
    soft_limit_cents: int | None = None
    hard_limit_cents: int | None = None
    notify: bool = True


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be shown at any time; `prefix` names it."""

    id: str
    prefix: str
    mode: str = "live"
    """`test`: its casts run for real and cost nothing."""
    name: str
    scopes: tuple[str, ...] = ()
    rate_limit_rpm: int | None = None
    open_casts_max: int | None = None
    allowed_origins: tuple[str, ...] = ()
    made_by_key: str | None = None
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    rotated_at: datetime | None = None
    previous_prefix: str | None = None
    """Of the secret that a rotation left valid until `previous_until`."""
    previous_until: datetime | None = None


class NewKey(Key, frozen=True, kw_only=True):
    """A key just made or rotated. `key` is the whole secret, shown this once; None when an answer is repeated."""

    key: str | None = None
    secret_available: bool = True

    def __repr__(self) -> str:
        """Leave the secret out: what is printed ends in logs."""
        return f"NewKey(prefix={self.prefix!r}, name={self.name!r})"
