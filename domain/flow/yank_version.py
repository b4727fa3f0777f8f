"""Take one version out of ranges."""

from datetime import datetime
from uuid import UUID

from domain.flow.audit import audit
from domain.flow.edit_spell import owned_spell
from domain.flow.edit_version import owned_version
from domain.model.audit import Action, Actor
from domain.store import spells
from domain.store.connection import Connection


async def yank_version(
    conn: Connection, *, account_id: UUID, owner: str, name: str, version: str, actor: Actor, now: datetime
) -> spells.SpellVersion:
    """Yank the version and return it: from now on only its exact name and its digest resolve to it.

    Again changes nothing. Raises RefusedError (not found) for a version there is not, or of somebody else.
    """
    spell = await owned_spell(conn, account_id=account_id, owner=owner, name=name)
    found = await owned_version(conn, spell, version)
    await spells.version_yank(conn, spell_id=spell.id, version=found.version, now=now)
    after = await owned_version(conn, spell, version)
    await audit(
        conn,
        actor,
        Action.VERSION_YANK,
        account_id=account_id,
        target_id=found.id,
        before=found,
        after=after,
        now=now,
    )
    return after
