"""Spells and versions as they are sent and shown."""

from datetime import datetime
from typing import Annotated

import msgspec

from api.spells.prices import PriceView, price_view
from domain.flow.create_spell import Visibility
from domain.model.advice import DEPRECATION_CHARACTERS_MAX
from domain.model.creator_price import PriceChange
from domain.model.limits import CastLimits
from domain.model.manifest import (
    DESCRIPTION_CHARACTERS_MAX,
    Manifest,
    input_bytes_max,
    limits_default,
    limits_max,
    pool_of,
)
from domain.model.messages import Pool
from domain.store.spells import Spell, SpellVersion

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]
_Deprecation = Annotated[
    str, msgspec.Meta(min_length=1, max_length=DEPRECATION_CHARACTERS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")
]
_Description = Annotated[str, msgspec.Meta(max_length=DESCRIPTION_CHARACTERS_MAX, pattern=r"^[^\x00]*$")]


class SpellBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A spell to make, under the caller's handle."""

    name: _Name
    description: _Description = ""
    visibility: Visibility = "public"


class SpellChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; a field that is left out stays."""

    description: _Description | None = None
    visibility: Visibility | None = None
    deprecation: _Deprecation | msgspec.UnsetType | None = msgspec.UNSET
    """Why not to use the spell any more, told to whoever casts it; null takes it back."""


class VersionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said about a version; the version itself never changes."""

    deprecation: _Deprecation | None
    """Why not to use it any more; null takes it back."""


class SpellView(msgspec.Struct, frozen=True, kw_only=True):
    """A spell. `spell` is the name to cast it by."""

    id: str
    spell: str
    owner: str
    name: str
    description: str
    visibility: str
    suspended: bool
    deprecation: str | None
    """Why its creator advises against it; null as a rule."""
    created_at: datetime


class SpellList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of spells, newest first."""

    data: list[SpellView]
    next_cursor: str | None
    has_more: bool


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """A version. Limits are what a cast gets when it asks for none, and the most it may ask for."""

    spell: str
    version: str
    digest: str
    size_bytes: int
    imports: list[str]
    limits: CastLimits
    limits_max: CastLimits
    input_bytes_max: int
    pool: Pool
    price_micros: int
    """The fixed part of `price`."""
    price: PriceView
    manifest: msgspec.Raw
    yanked: bool
    """No range means it any more; its exact name and its digest do."""
    deprecation: str | None
    created_at: datetime


class VersionList(msgspec.Struct, frozen=True, kw_only=True):
    """Every version, newest first."""

    data: list[VersionView]
    next_cursor: None = None
    has_more: bool = False


class SpellDetail(SpellView, frozen=True, kw_only=True):
    """A spell with the version that `@latest` means; null before the first and after the last was yanked."""

    latest: VersionView | None


def spell_view(spell: Spell) -> SpellView:
    """Return the spell as it is shown."""
    return SpellView(
        id=str(spell.id),
        spell=f"{spell.owner}/{spell.name}",
        owner=spell.owner,
        name=spell.name,
        description=spell.description,
        visibility=spell.visibility,
        suspended=spell.suspended_at is not None,
        deprecation=spell.deprecation,
        created_at=spell.created_at,
    )


def spell_detail(spell: Spell, latest: VersionView | None) -> SpellDetail:
    """Return the spell with its latest version."""
    view = msgspec.structs.asdict(spell_view(spell))
    return SpellDetail(**view, latest=latest)


def version_view(
    owner: str, name: str, version: SpellVersion, change: PriceChange | None, now: datetime
) -> VersionView:
    """Return the version as it is shown at `now`; `change` is the newest price named for it."""
    manifest = msgspec.json.decode(version.manifest, type=Manifest)
    default = limits_default(manifest)
    price = price_view(change, manifest, now)
    return VersionView(
        spell=f"{owner}/{name}",
        version=version.version,
        digest=f"sha256:{version.digest.hex()}",
        size_bytes=version.size_bytes,
        imports=version.imports,
        limits=default,
        limits_max=limits_max(manifest),
        input_bytes_max=input_bytes_max(manifest),
        pool=pool_of(default),
        price_micros=price.per_cast_micros,
        price=price,
        manifest=msgspec.Raw(version.manifest.encode()),
        yanked=version.yanked_at is not None,
        deprecation=version.deprecation,
        created_at=version.created_at,
    )
