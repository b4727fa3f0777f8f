"""End sessions: one, or all of a user but the one that asks."""

from uuid import UUID

from domain.flow.audit import audit
from domain.model.audit import Action, Actor
from domain.model.errors import Code, refuse
from domain.model.session import hash_of_token, is_token
from domain.store import identity, sessions
from domain.store.connection import Connection


async def end_session(conn: Connection, *, account_id: UUID, user_id: UUID, session_id: UUID, actor: Actor) -> None:
    """End a session under the account lock, so that after the commit no batch of casts still sees it alive.

    The instant is read after the lock: no cast of the session is accepted later than `ended_at`. Ending again changes
    nothing. Raises RefusedError (not found) when the user has no such session. Needs Role.ENGINE.
    """
    await identity.account_lock(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    ended = await sessions.session_end(conn, account_id=account_id, user_id=user_id, session_id=session_id, now=now)
    if ended is None:
        raise refuse(Code.NOT_FOUND, "You have no session of that id.")
    if ended:
        await audit(conn, actor, Action.SESSION_END, account_id=account_id, target_id=session_id, now=now)


async def end_other_sessions(
    conn: Connection, *, account_id: UUID, user_id: UUID, kept: UUID | None, actor: Actor
) -> list[UUID]:
    """End every session of a user but `kept` in the same way; return the ids of those that ended now."""
    await identity.account_lock(conn, account_id=account_id)
    now = await identity.instant_read(conn)
    ended = await sessions.sessions_end(conn, account_id=account_id, user_id=user_id, kept=kept, now=now)
    for session_id in ended:
        await audit(conn, actor, Action.SESSION_END, account_id=account_id, target_id=session_id, now=now)
    return ended


async def end_session_of_token(conn: Connection, *, token: str, address: str = "", request_id: str = "") -> UUID | None:
    """End the session of this token, whoever has it, and return its id; None when there is none alive.

    For the login of a browser that still shows the session of before.
    """
    if not is_token(token):
        return None
    hashed = hash_of_token(token)
    owner = (await sessions.sessions_by_hash(conn, hashes=[hashed])).get(hashed)
    if owner is None or not owner.alive:
        return None
    actor = Actor(kind="session", id=owner.session_id, user_id=owner.user_id, address=address, request_id=request_id)
    await end_session(
        conn, account_id=owner.account_id, user_id=owner.user_id, session_id=owner.session_id, actor=actor
    )
    return owner.session_id
