"""Confirm the login of a program, or turn it down."""

from datetime import datetime
from uuid import UUID

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.device_login import read_user_code
from domain.model.errors import Code, refuse
from domain.store import device_logins
from domain.store.connection import Connection


async def decide_device_login(
    conn: Connection, *, user_code: str, account_id: UUID, user_id: UUID, approved: bool, actor: Actor, now: datetime
) -> None:
    """Let the program that shows `user_code` in as `user_id`, or turn it down; the first decision stands.

    Raises RefusedError (not found) for a code that is unknown, over or decided. Needs Role.ENGINE.
    """
    code = read_user_code(user_code)
    if code is None or not await device_logins.device_login_decide(
        conn, user_code=code, user_id=user_id, approved=approved, now=now
    ):
        raise refuse(Code.NOT_FOUND, "This code is unknown or no longer good. Begin again at the command line.")
    action = Action.DEVICE_APPROVE if approved else Action.DEVICE_DENY
    await audit(conn, actor, action, account_id=account_id, target_id=code, now=now)
