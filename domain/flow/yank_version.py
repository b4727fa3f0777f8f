"""Take one version out of ranges."""

from datetime import datetime
from uuid import UUID

from domain.flow.edit_spell import owned_spell
from domain.model.errors import Code, refuse
from domain.model.versions import parse
from domain.store import spells
from domain.store.connection import Connection


async def yank_version(
    conn: Connection, *, account_id: UUID, owner: str, name: str, version: str, now: datetime
) -> spells.SpellVersion:
    """Yank the version and return it: from now on only its exact name and its digest resolve to it.

    Again changes nothing. Raises RefusedError (not found) for a version there is not, or of somebody else.
    """
    spell = await owned_spell(conn, account_id=account_id, owner=owner, name=name)
    parsed = parse(version)
    yanked = None
    if parsed is not None and await spells.version_yank(conn, spell_id=spell.id, version=str(parsed), now=now):
        yanked = await spells.version_get(conn, spell_id=spell.id, version=str(parsed))
    if yanked is None:
        raise refuse(Code.NOT_FOUND, f"The spell {owner}/{name} has no version {version[:64]}.")
    return yanked
