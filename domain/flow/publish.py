"""Publish a version of a spell: once, and never changed after."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.creator_price import REPORT_UNITS, check_price, first_price
from domain.model.errors import Code, RefusedError, refuse
from domain.model.manifest import Manifest, limits_max, manifest_text, price_of
from domain.model.versions import Version
from domain.store import spell_prices, spells
from domain.store.connection import Connection

# Resolving a range reads every version's name; a spell that needs more of them starts a new name.
VERSIONS_PER_SPELL_MAX: Final = 1_000


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What is published. `spell_id` is used when the spell is new; `imports` are `module.name` as compiled."""

    id: UUID
    spell_id: UUID
    account_id: UUID
    name: str
    version: Version
    digest: bytes
    size_bytes: int
    imports: tuple[str, ...]
    manifest: Manifest


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """The version as stored; `made` is False when it was there, equal in all that was sent."""

    version: spells.SpellVersion
    made: bool


async def publish(conn: Connection, new: NewVersion, *, actor: Actor, now: datetime) -> Publication:
    """Write the version, and its spell when that is new; its module is stored already. Needs Role.ENGINE.

    Raises RefusedError: version exists (with another module or manifest), conflict (too many versions), validation (a
    price that cannot be).
    """
    price = price_of(new.manifest)
    check_price(
        price,
        output_bytes_max=limits_max(new.manifest).output_bytes,
        reports_units=REPORT_UNITS in new.imports,
    )
    spell = {"name": new.name, "description": new.manifest.description, "visibility": "public"}
    made = await spells.spell_insert(conn, spell_id=new.spell_id, account_id=new.account_id, **spell, now=now)
    spell_id = await spells.spell_lock(conn, account_id=new.account_id, name=new.name)
    assert spell_id is not None, "it was made above, or was there"
    there = await spells.version_get(conn, spell_id=spell_id, version=str(new.version))
    if there is not None:
        return Publication(version=_same(there, new.digest, new.manifest), made=False)
    if await spells.versions_count(conn, spell_id=spell_id) >= VERSIONS_PER_SPELL_MAX:
        raise refuse(Code.CONFLICT, f"This spell has {VERSIONS_PER_SPELL_MAX} versions. Publish under a new name.")
    version = spells.SpellVersion(
        id=new.id,
        spell_id=spell_id,
        account_id=new.account_id,
        version=str(new.version),
        digest=new.digest,
        size_bytes=new.size_bytes,
        manifest=manifest_text(new.manifest),
        imports=list(new.imports),
        creator_price_micros=new.manifest.price_micros,
        yanked_at=None,
        created_at=now,
    )
    await spells.version_insert(conn, version)
    first = first_price(price, version_id=new.id, now_ms=await spell_prices.clock_us(conn) // 1000)
    if first is not None:
        await spell_prices.price_insert(conn, first, account_id=new.account_id)
    if made:
        await audit(
            conn, actor, Action.SPELL_CREATE, account_id=new.account_id, target_id=spell_id, after=spell, now=now
        )
    await audit(
        conn, actor, Action.VERSION_PUBLISH, account_id=new.account_id, target_id=new.id, after=version, now=now
    )
    return Publication(version=version, made=True)


async def published(
    conn: Connection, *, owner: str, name: str, version: Version, digest: bytes, manifest: Manifest | None
) -> spells.SpellVersion | None:
    """Return the version if it is there and equal, None if it is not there: to know before compiling.

    `manifest` None: none was sent beside the module, so an equal module is all that was asked for.

    Raises RefusedError (version exists) when it is there with another module or manifest.
    """
    spell = await spells.spell_get(conn, owner=owner, name=name)
    there = None if spell is None else await spells.version_get(conn, spell_id=spell.id, version=str(version))
    return None if there is None else _same(there, digest, manifest)


def _same(there: spells.SpellVersion, digest: bytes, manifest: Manifest | None) -> spells.SpellVersion:
    if there.digest != digest:
        raise _exists(there, "another module")
    if manifest is not None and there.manifest != manifest_text(manifest):
        raise _exists(there, "another manifest")
    return there


def _exists(there: spells.SpellVersion, what: str) -> RefusedError:
    return refuse(
        Code.VERSION_EXISTS,
        f"Version {there.version} exists with {what} (sha256:{there.digest.hex()}). Versions never change:"
        " publish the next number.",
    )
