"""Make a user with a personal account; the same handle and address again give the same account."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.errors import Code, Fault, refuse
from domain.model.spell_ref import is_handle
from domain.store import identity
from domain.store.connection import Connection

Billing = Literal["auto", "on", "off"]
Plan = Literal["free", "pro", "enterprise"]
# The accounts of the operator's own spells, and of the interpreters: nobody signs in to them.
PLATFORM_HANDLE: Final = "local"
RUNTIME_HANDLE: Final = "runtime"
_RESERVED: Final = frozenset({PLATFORM_HANDLE, RUNTIME_HANDLE})


class CreatedUser(msgspec.Struct, frozen=True, kw_only=True):
    """The account, and whether this call made it."""

    account: identity.Account
    made: bool


async def create_user(
    conn: Connection,
    *,
    user_id: UUID,
    account_id: UUID,
    handle: str,
    email: str | None,
    plan: Plan,
    billing: Billing,
    actor: Actor,
    now: datetime,
) -> CreatedUser:
    """Make the user, unless there is one of this handle and address. Needs Role.ENGINE.

    Raises RefusedError: validation for a handle of the wrong form, conflict for one that somebody else has.
    """
    _check_handle(handle)
    made = await identity.account_insert(
        conn, account_id=account_id, handle=handle, kind="personal", plan=plan, billing=billing, now=now
    )
    if made:
        await identity.user_insert(conn, user_id=user_id, account_id=account_id, email=email, now=now)
    account = await identity.account_by_handle(conn, handle=handle)
    if account is None:  # of an account that was erased: whoever cast its spells must not get another's
        raise refuse(Code.CONFLICT, f"The handle '{handle}' was somebody's who left. Choose another.")
    if account.kind != "personal" or account.email != email:
        raise refuse(Code.CONFLICT, f"The handle '{handle}' is taken.")
    if made:
        await audit(conn, actor, Action.USER_CREATE, account_id=account.id, target_id=user_id, after=account, now=now)
    return CreatedUser(account=account, made=made)


async def ensure_platform_account(
    conn: Connection, *, account_id: UUID, now: datetime, handle: str = PLATFORM_HANDLE
) -> identity.Account:
    """Return an account that owns spells of the operator's own, made with `account_id` when it is missing."""
    assert handle in _RESERVED, "nobody else can have made it"
    await identity.account_insert(
        conn,
        account_id=account_id,
        handle=handle,
        kind="platform",
        plan="enterprise",
        billing="off",
        now=now,
    )
    account = await identity.account_by_handle(conn, handle=handle)
    assert account is not None
    if account.kind != "platform":
        raise refuse(Code.CONFLICT, f"The handle '{handle}' belongs to a user, not to the platform.")
    return account


def _check_handle(handle: str) -> None:
    if handle in _RESERVED:
        raise refuse(Code.CONFLICT, f"The handle '{handle}' is the platform's own.")
    if not is_handle(handle):
        fault = Fault(
            location="handle",
            message=f"{handle[:50]!r} is no handle",
            fix="Use 1 to 39 lower case letters, digits and inner hyphens.",
        )
        raise refuse(Code.VALIDATION, f"The user cannot be made: {fault.message}.", faults=(fault,))
