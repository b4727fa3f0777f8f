"""Begin a session of somebody who has just proved who he is."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.flow.audit import audit
from domain.model.audit import PLATFORM, Action, Actor
from domain.model.session import (
    SESSIONS_PER_USER_MAX,
    USER_AGENT_CHARACTERS_MAX,
    OpenedSession,
    SessionKind,
    hash_of_token,
    mint_session,
)
from domain.store import sessions
from domain.store.connection import Connection

# A session that expired is told from one that never was for as long again; what was done in it is in the audit log.
_KEPT_AFTER: Final = timedelta(days=30)


async def open_session(
    conn: Connection,
    *,
    user_id: UUID,
    account_id: UUID,
    kind: SessionKind,
    user_agent: str,
    address: str,
    request_id: str = "",
    now: datetime,
    entropy: bytes,
) -> OpenedSession:
    """Begin a session and return its token, which is stored nowhere; `entropy` is ENTROPY_BYTES random bytes.

    It ends SESSION_DAYS_MAX days after `now`, or after SESSION_IDLE_DAYS_MAX days without use. Beyond
    SESSIONS_PER_USER_MAX the user's oldest ends. A session is never continued at a login: whoever had slipped the
    browser a token of his own would be signed in as well. Needs Role.ENGINE.
    """
    opened = mint_session(entropy, now)
    session = sessions.NewSession(
        id=opened.session_id,
        user_id=user_id,
        account_id=account_id,
        token_hash=hash_of_token(opened.token),
        kind=kind,
        user_agent=_printable(user_agent)[:USER_AGENT_CHARACTERS_MAX],
        address=address,
        expires_at=opened.expires_at,
    )
    await sessions.session_insert(conn, session, now=now)
    actor = Actor(kind="session", id=session.id, user_id=user_id, address=address, request_id=request_id)
    await audit(conn, actor, Action.SESSION_BEGIN, account_id=account_id, target_id=session.id, after=session, now=now)
    surplus = await sessions.sessions_trim(
        conn,
        account_id=account_id,
        user_id=user_id,
        kept=SESSIONS_PER_USER_MAX,
        drop_before=now - _KEPT_AFTER,
        now=now,
    )
    for ended in surplus:
        await audit(conn, PLATFORM, Action.SESSION_END, account_id=account_id, target_id=ended, now=now)
    return opened


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
