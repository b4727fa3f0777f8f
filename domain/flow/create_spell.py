"""Reserve a spell's name and say what it will be; versions come by `publish`."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.store import spells
from domain.store.connection import Connection

Visibility = Literal["public", "unlisted", "private"]


class NewSpell(msgspec.Struct, frozen=True, kw_only=True):
    """A spell somebody asks for; `owner` is the handle of the account."""

    id: UUID
    account_id: UUID
    owner: str
    name: str
    description: str
    visibility: Visibility


class CreatedSpell(msgspec.Struct, frozen=True, kw_only=True):
    """The spell as stored. `replayed`: an earlier call made it."""

    spell: spells.Spell
    replayed: bool


async def create_spell(
    conn: Connection, new: NewSpell, *, actor: Actor, call: IdempotentCall | None = None, now: datetime
) -> CreatedSpell:
    """Make the spell; the same call again returns the first's. Needs Role.ENGINE.

    Raises RefusedError: conflict (the account has a spell of this name), idempotency_key_reused.
    """
    await lock_active_account(conn, account_id=new.account_id)
    before = await made_before(conn, account_id=new.account_id, call=call)
    made = before is None and await spells.spell_insert(
        conn,
        spell_id=new.id,
        account_id=new.account_id,
        name=new.name,
        description=new.description,
        visibility=new.visibility,
        now=now,
    )
    spell = await spells.spell_get(conn, owner=new.owner, name=new.name)
    if spell is None or spell.id not in {before, new.id}:
        raise refuse(
            Code.CONFLICT, f"You have a spell named '{new.name}'. Change it with PATCH, or choose another name."
        )
    if made:
        await remember(conn, account_id=new.account_id, call=call, made_id=new.id, now=now)
        await audit(conn, actor, Action.SPELL_CREATE, account_id=new.account_id, target_id=new.id, after=spell, now=now)
    return CreatedSpell(spell=spell, replayed=not made)
