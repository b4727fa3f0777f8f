"""Change what an owner may change of a spell."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.create_spell import Visibility
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.spell_ref import is_spell_name
from domain.store import spells
from domain.store.connection import Connection


async def edit_spell(
    conn: Connection,
    *,
    account_id: UUID,
    owner: str,
    name: str,
    description: str | None,
    visibility: Visibility | None,
    deprecation: str | msgspec.UnsetType | None = msgspec.UNSET,
    actor: Actor,
    now: datetime,
) -> spells.Spell:
    """Set what is not None, and return the spell. Setting the same again changes nothing.

    `deprecation` says why not to use the spell; None takes that back, UNSET leaves it.
    Casts of others that were accepted before run on. Raises RefusedError (not found) for a spell of somebody else.
    """
    spell = await owned_spell(conn, account_id=account_id, owner=owner, name=name)
    changed = msgspec.structs.replace(
        spell,
        description=spell.description if description is None else description,
        visibility=spell.visibility if visibility is None else visibility,
        deprecation=spell.deprecation if isinstance(deprecation, msgspec.UnsetType) else deprecation,
    )
    await spells.spell_update(
        conn,
        spell_id=spell.id,
        description=changed.description,
        visibility=changed.visibility,
        deprecation=changed.deprecation,
    )
    await audit(
        conn,
        actor,
        Action.SPELL_UPDATE,
        account_id=account_id,
        target_id=spell.id,
        before=spell,
        after=changed,
        now=now,
    )
    return changed


async def owned_spell(conn: Connection, *, account_id: UUID, owner: str, name: str) -> spells.Spell:
    """Return the account's spell, locked until the transaction ends. Raises RefusedError (not found)."""
    locked = await spells.spell_lock(conn, account_id=account_id, name=name) if is_spell_name(name) else None
    spell = None if locked is None else await spells.spell_get(conn, owner=owner, name=name)
    if spell is None or spell.id != locked:
        raise refuse(Code.NOT_FOUND, f"You have no spell {owner[:50]}/{name[:70]}.")
    return spell
