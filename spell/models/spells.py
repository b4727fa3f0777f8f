"""Spells and their versions."""

from datetime import datetime
from typing import Any

import msgspec

from spell.models.prices import Price


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """A spell; `spell` is the name to cast it by."""

    id: str
    spell: str
    owner: str
    name: str
    description: str = ""
    visibility: str = "public"
    """`public`, `unlisted` or `private`."""
    suspended: bool = False
    created_at: datetime


class VersionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a cast of a version."""

    fuel: int
    wall_ms: int
    memory_bytes: int
    output_bytes: int
    log_bytes: int


class SpellVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version. `limits` is what a cast gets when it asks for none, `limits_max` the most it may ask for."""

    spell: str
    version: str
    digest: str
    size_bytes: int
    imports: tuple[str, ...] = ()
    limits: VersionLimits
    limits_max: VersionLimits
    input_bytes_max: int
    pool: str
    price_micros: int
    """The fixed part of `price`."""
    price: Price = Price()
    manifest: dict[str, Any] = {}
    yanked: bool = False
    created_at: datetime


class SpellDetail(Spell, frozen=True, kw_only=True):
    """A spell with the version that `@latest` means; None before the first and after the last was yanked."""

    latest: SpellVersion | None = None
