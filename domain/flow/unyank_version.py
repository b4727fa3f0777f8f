"""Bring a yanked version back into ranges."""

from datetime import datetime
from uuid import UUID

from domain.flow.audit import audit
from domain.flow.edit_spell import owned_spell
from domain.flow.edit_version import owned_version
from domain.model.audit import Action, Actor
from domain.store import spells
from domain.store.connection import Connection


async def unyank_version(
    conn: Connection, *, account_id: UUID, owner: str, name: str, version: str, actor: Actor, now: datetime
) -> spells.SpellVersion:
    """Let ranges resolve to the version again, and return it. Again changes nothing.

    Raises RefusedError (not found) for a version there is not, or of somebody else.
    """
    spell = await owned_spell(conn, account_id=account_id, owner=owner, name=name)
    found = await owned_version(conn, spell, version)
    await spells.version_unyank(conn, spell_id=spell.id, version=found.version)
    after = await owned_version(conn, spell, version)
    await audit(
        conn,
        actor,
        Action.VERSION_UNYANK,
        account_id=account_id,
        target_id=found.id,
        before=found,
        after=after,
        now=now,
    )
    return after
