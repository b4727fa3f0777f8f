"""API keys as they are asked for and shown."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from domain.model.budgets import LIMIT_CENTS_MAX
from domain.model.key_rules import (
    GRACE_S_DEFAULT,
    GRACE_S_MAX,
    NAME_CHARACTERS_MAX,
    ORIGINS_PER_KEY_MAX,
    RATE_LIMIT_RPM_MAX,
    KeyChange,
    KeyScope,
)
from domain.model.modes import Mode
from domain.model.origins import ORIGIN_CHARACTERS_MAX
from domain.model.periods import Period
from domain.store.identity import ApiKey

_Cents = Annotated[int, msgspec.Meta(ge=0, le=LIMIT_CENTS_MAX)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Scopes = Annotated[tuple[str, ...], msgspec.Meta(max_length=len(KeyScope))]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_Rate = Annotated[int, msgspec.Meta(ge=1, le=RATE_LIMIT_RPM_MAX)]
# As large as an account's own bound can be set.
_OpenCasts = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_Origin = Annotated[str, msgspec.Meta(max_length=ORIGIN_CHARACTERS_MAX)]
_Origins = Annotated[tuple[_Origin, ...], msgspec.Meta(max_length=ORIGINS_PER_KEY_MAX)]


class KeyBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit of the new key's own."""

    period: Period = Period.MONTHLY
    soft_limit_cents: _Cents | None = None
    hard_limit_cents: _Cents | None = None
    notify: bool = True


class KeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make. A key made by a key gets at most what its maker has."""

    name: _Name
    mode: Mode = Mode.LIVE
    """`test`: its casts run for real and cost nothing; it is for your own spells and those without a price."""
    scopes: _Scopes | None = None
    """Left out: `casts:write` and `casts:read`, as far as the maker has them. `service` and `admin` are given by the
    operator alone."""
    expires_at: _Instant | None = None
    rate_limit_rpm: _Rate | None = None
    open_casts_max: _OpenCasts | None = None
    budget: KeyBudget | None = None
    allowed_origins: _Origins = ()
    """Pages that may use the key, like `https://app.example.com`; none: a browser may use it from any page."""


class KeyChangeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a key: what is left out stays, null takes a bound away. Its budget is under /v1/budgets."""

    name: _Name | msgspec.UnsetType = msgspec.UNSET
    scopes: _Scopes | msgspec.UnsetType = msgspec.UNSET
    expires_at: _Instant | msgspec.UnsetType | None = msgspec.UNSET
    rate_limit_rpm: _Rate | msgspec.UnsetType | None = msgspec.UNSET
    open_casts_max: _OpenCasts | msgspec.UnsetType | None = msgspec.UNSET
    allowed_origins: _Origins | msgspec.UnsetType = msgspec.UNSET

    def change(self) -> KeyChange:
        """Return the change this asks for."""
        return KeyChange(
            name=self.name,
            scopes=self.scopes if isinstance(self.scopes, msgspec.UnsetType) else frozenset(self.scopes),
            expires_at=self.expires_at,
            rate_limit_rpm=self.rate_limit_rpm,
            open_casts_max=self.open_casts_max,
            allowed_origins=self.allowed_origins,
        )


class RotationBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the secret of now stays good beside the new one."""

    grace_seconds: Annotated[int, msgspec.Meta(ge=0, le=GRACE_S_MAX)] = GRACE_S_DEFAULT
    """0 ends it at once: with the answer it casts nothing any more."""


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be shown at any time."""

    id: UUID
    prefix: str
    mode: Mode
    name: str
    scopes: list[str]
    rate_limit_rpm: int | None
    open_casts_max: int | None
    allowed_origins: list[str]
    made_by_key: UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute, and a few seconds late."""
    rotated_at: datetime | None
    previous_prefix: str | None
    """Of the secret before the last rotation."""
    previous_until: datetime | None
    """Until then it is good."""


class NewKeyView(KeyView, frozen=True, kw_only=True):
    """A key whose secret was just made. `key` is the whole secret, shown this once; null in an idempotent replay."""

    key: str | None
    secret_available: bool


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of keys, newest first."""

    data: list[KeyView]
    next_cursor: str | None
    has_more: bool


def key_view(key: ApiKey) -> KeyView:
    """Return the key as it is shown."""
    return msgspec.convert(key, KeyView, from_attributes=True)


def new_key_view(key: ApiKey, *, text: str | None) -> NewKeyView:
    """Return the key with its secret `text`; None when that is gone."""
    return NewKeyView(**msgspec.structs.asdict(key_view(key)), key=text, secret_available=text is not None)
