"""Ask for an export of all of an account's data."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.flow.creation import IdempotentCall, lock_active_account, made_before, remember
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.export_files import EXPORTS_KEPT_MAX
from domain.store import identity, privacy
from domain.store.connection import Connection
from domain.store.privacy import Export


class RequestedExport(msgspec.Struct, frozen=True, kw_only=True):
    """The export as it is now. `replayed`: an earlier call asked for it."""

    export: Export
    replayed: bool


async def request_export(
    conn: Connection,
    *,
    export_id: UUID,
    account_id: UUID,
    user_id: UUID,
    actor: Actor,
    call: IdempotentCall | None = None,
) -> RequestedExport:
    """Have an export made of what is there now, under the account lock. Needs Role.ENGINE.

    Raises RefusedError: conflict (one is being made, or EXPORTS_KEPT_MAX can be fetched), idempotency_key_reused.
    """
    await lock_active_account(conn, account_id=account_id)
    before = await made_before(conn, account_id=account_id, call=call)
    if before is not None:
        return RequestedExport(export=await find_export(conn, account_id=account_id, export_id=before), replayed=True)
    now: datetime = await identity.instant_read(conn)
    if await privacy.exports_count(conn, account_id=account_id, now=now) >= EXPORTS_KEPT_MAX:
        raise refuse(
            Code.CONFLICT,
            f"{EXPORTS_KEPT_MAX} exports of this account can be fetched. Use one, or wait until one ends.",
        )
    made = await privacy.export_insert(conn, export_id=export_id, account_id=account_id, user_id=user_id, now=now)
    if not made:
        raise refuse(Code.CONFLICT, "An export of this account is being made. Wait until it is ready.")
    await audit(conn, actor, Action.EXPORT_CREATE, account_id=account_id, target_id=export_id, now=now)
    await remember(conn, account_id=account_id, call=call, made_id=export_id, now=now)
    return RequestedExport(export=await find_export(conn, account_id=account_id, export_id=export_id), replayed=False)


async def find_export(conn: Connection, *, account_id: UUID, export_id: UUID) -> Export:
    """Return an export of the account. Raises RefusedError (not found)."""
    export = await privacy.export_get(conn, account_id=account_id, export_id=export_id)
    if export is None:
        raise refuse(Code.NOT_FOUND, "You have no export of that id.")
    return export
