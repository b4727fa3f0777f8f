"""Take spells off the platform until a person has looked, and tell their creators."""

from collections.abc import Sequence
from uuid import UUID

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.events import SuspendedSpell, suspension_event
from domain.store import schedule as store
from domain.store.connection import Connection
from domain.store.events import events_insert


async def suspend_spells(
    connection: Connection, spell_ids: Sequence[UUID], *, reason: str, actor: Actor
) -> list[SuspendedSpell]:
    """Suspend those of these spells that are not yet; return them. From the commit on nobody casts them.

    `reason` ends the sentence "was taken off the platform: ..." of the mail and the webhook that each creator gets.
    Twice tells once. Open casts are left to end by themselves. Needs Role.ENGINE.
    """
    if not spell_ids:
        return []
    suspended = await store.suspend(connection, spell_ids, reason=reason)
    if suspended:
        await events_insert(connection, [suspension_event(spell) for spell in suspended])
    for spell in suspended:
        await audit(
            connection,
            actor,
            Action.SPELL_SUSPEND,
            account_id=spell.creator_id,
            target_id=spell.spell_id,
            after=spell,
            now=spell.suspended_at,
        )
    return suspended
