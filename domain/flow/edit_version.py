"""Change what an owner may say about a version; the version itself never changes."""

from datetime import datetime
from uuid import UUID

from domain.flow.audit import audit
from domain.flow.edit_spell import owned_spell
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.versions import parse
from domain.store import spells
from domain.store.connection import Connection


async def edit_version(
    conn: Connection,
    *,
    account_id: UUID,
    owner: str,
    name: str,
    version: str,
    deprecation: str | None,
    actor: Actor,
    now: datetime,
) -> spells.SpellVersion:
    """Set why not to use the version, or take that back with None, and return it. The same again changes nothing.

    Raises RefusedError (not found) for a version there is not, or of somebody else.
    """
    spell = await owned_spell(conn, account_id=account_id, owner=owner, name=name)
    found = await owned_version(conn, spell, version)
    await spells.version_deprecate(conn, spell_id=spell.id, version=found.version, deprecation=deprecation)
    after = await owned_version(conn, spell, version)
    await audit(
        conn,
        actor,
        Action.VERSION_UPDATE,
        account_id=account_id,
        target_id=found.id,
        before=found,
        after=after,
        now=now,
    )
    return after


async def owned_version(conn: Connection, spell: spells.Spell, version: str) -> spells.SpellVersion:
    """Return the version of exactly this name. Raises RefusedError (not found)."""
    parsed = parse(version)
    found = None if parsed is None else await spells.version_get(conn, spell_id=spell.id, version=str(parsed))
    if found is None:
        raise refuse(Code.NOT_FOUND, f"The spell {spell.owner}/{spell.name} has no version {version[:64]}.")
    return found
