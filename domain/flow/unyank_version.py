"""Bring a yanked version back into ranges."""

from uuid import UUID

from domain.flow.edit_spell import owned_spell
from domain.flow.edit_version import owned_version
from domain.store import spells
from domain.store.connection import Connection


async def unyank_version(
    conn: Connection, *, account_id: UUID, owner: str, name: str, version: str
) -> spells.SpellVersion:
    """Let ranges resolve to the version again, and return it. Again changes nothing.

    Raises RefusedError (not found) for a version there is not, or of somebody else.
    """
    spell = await owned_spell(conn, account_id=account_id, owner=owner, name=name)
    found = await owned_version(conn, spell, version)
    await spells.version_unyank(conn, spell_id=spell.id, version=found.version)
    return await owned_version(conn, spell, version)
