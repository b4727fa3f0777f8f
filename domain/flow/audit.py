"""Write down who changed what, in the transaction that changes it: neither is there without the other."""

from datetime import datetime
from uuid import UUID

from domain.model.audit import Action, Actor, Target, shown
from domain.store.audit import NewEntry, entry_insert
from domain.store.connection import Connection


async def audit(
    conn: Connection,
    actor: Actor,
    action: Action,
    *,
    account_id: UUID,
    target_id: UUID | int | str,
    before: Target | None = None,
    after: Target | None = None,
    now: datetime,
) -> None:
    """Write one entry to the log of `account_id`, whose target it is. Needs Role.ENGINE.

    `before` and `after` are the target as it was and is, whole: the fields that may be shown are taken from them, and
    where these are equal nothing was changed and nothing is written. Without `before` the target is new, without
    `after` it is gone, and without both the action says all.
    """
    kind = action.target_kind
    was, became = shown(kind, before), shown(kind, after)
    if was is not None and was == became:
        return
    entry = NewEntry(
        account_id=account_id,
        at=now,
        actor_kind=actor.kind,
        actor_id=actor.id,
        user_id=actor.user_id,
        action=action.value,
        target_kind=kind,
        target_id=str(target_id),
        before=was,
        after=became,
        address=actor.address,
        request_id=actor.request_id,
    )
    await entry_insert(conn, entry)
