"""Take spells off the platform until a person has looked, and tell their creators."""

from collections.abc import Sequence
from uuid import UUID

from domain.model.events import SuspendedSpell, suspension_event
from domain.store import schedule as store
from domain.store.connection import Connection
from domain.store.events import events_insert


async def suspend_spells(connection: Connection, spell_ids: Sequence[UUID], *, reason: str) -> list[SuspendedSpell]:
    """Suspend those of these spells that are not yet; return them. From the commit on nobody casts them.

    `reason` ends the sentence "was taken off the platform: ..." of the mail and the webhook that each creator gets.
    Twice tells once. Open casts are left to end by themselves. Needs Role.ENGINE.
    """
    if not spell_ids:
        return []
    suspended = await store.suspend(connection, spell_ids, reason=reason)
    if suspended:
        await events_insert(connection, [suspension_event(spell) for spell in suspended])
    return suspended
