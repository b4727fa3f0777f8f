"""Take a spell out of the store; whoever named an exact version or digest can go on."""

from datetime import datetime
from uuid import UUID

from domain.flow.audit import audit
from domain.flow.edit_spell import owned_spell
from domain.model.audit import Action, Actor
from domain.store import spells
from domain.store.connection import Connection


async def retire_spell(
    conn: Connection, *, account_id: UUID, owner: str, name: str, actor: Actor, now: datetime
) -> None:
    """Yank every version, so that no list shows the spell and no range resolves to it. Again changes nothing.

    Raises RefusedError (not found) for a spell of somebody else.
    """
    spell = await owned_spell(conn, account_id=account_id, owner=owner, name=name)
    if await spells.versions_yank_all(conn, spell_id=spell.id, now=now):
        await audit(conn, actor, Action.SPELL_RETIRE, account_id=account_id, target_id=spell.id, now=now)
