"""Sessions of users. Everything here runs inside the caller's transaction; writing needs Role.ENGINE."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from domain.model.session import SESSION_IDLE_DAYS_MAX, SessionKind
from domain.store.connection import Connection
from domain.store.queries import load

_QUERIES: Final = load(__file__)


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session to write."""

    id: UUID
    user_id: UUID
    account_id: UUID
    token_hash: bytes
    kind: SessionKind
    user_agent: str
    address: str
    expires_at: datetime


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its user may see it: all but the token's hash."""

    id: UUID
    kind: str
    user_agent: str
    address: str
    created_at: datetime
    last_used_at: datetime
    """To the minute, and up to a few seconds late."""
    expires_at: datetime


class SessionOwner(msgspec.Struct, frozen=True, kw_only=True):
    """A session and its account, as they stand now."""

    session_id: UUID
    user_id: UUID
    account_id: UUID
    handle: str
    role: str
    alive: bool
    """Neither ended nor expired nor idle for too long."""
    active: bool
    """The account is not suspended."""
    budgets: str | None = None
    """Hard ones of the account, with their windows of now, as JSON for `tightest_standing`; None without any."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person."""

    id: UUID
    account_id: UUID
    email: str | None
    name: str
    role: str


async def session_insert(conn: Connection, session: NewSession, *, now: datetime) -> None:
    """Begin a session."""
    await conn.execute(_QUERIES["session_insert"], {**msgspec.structs.asdict(session), "now": now})


async def sessions_trim(
    conn: Connection, *, account_id: UUID, user_id: UUID, kept: int, drop_before: datetime, now: datetime
) -> list[UUID]:
    """End all but the newest `kept` living sessions of a user, and forget those that expired before `drop_before`.

    Return those that ended.
    """
    parameters = {
        "account_id": account_id,
        "user_id": user_id,
        "kept": kept,
        "drop_before": drop_before,
        "now": now,
    }
    cursor = await conn.execute(_QUERIES["sessions_trim"], parameters)
    return [row[0] for row in await cursor.fetchall()]


async def sessions_by_hash(conn: Connection, *, hashes: list[bytes]) -> dict[bytes, SessionOwner]:
    """Return the sessions that exist among `hashes`, by hash, dead ones too. Needs Role.ENGINE."""
    parameters = {"hashes": hashes, "idle_days": SESSION_IDLE_DAYS_MAX}
    cursor = await conn.execute(_QUERIES["sessions_by_hash"], parameters)
    return {
        bytes(row[0]): SessionOwner(
            session_id=row[1],
            user_id=row[2],
            account_id=row[3],
            handle=row[4],
            role=row[5],
            alive=row[6],
            active=row[7],
            budgets=row[8],
        )
        for row in await cursor.fetchall()
    }


async def sessions_list(conn: Connection, *, account_id: UUID, user_id: UUID, limit: int) -> list[Session]:
    """Return up to `limit` living sessions of a user, the last used first."""
    parameters = {
        "account_id": account_id,
        "user_id": user_id,
        "limit": limit,
        "idle_days": SESSION_IDLE_DAYS_MAX,
    }
    async with conn.cursor(row_factory=class_row(Session)) as cursor:
        await cursor.execute(_QUERIES["sessions_list"], parameters)
        return await cursor.fetchall()


async def session_end(
    conn: Connection, *, account_id: UUID, user_id: UUID, session_id: UUID, now: datetime
) -> bool | None:
    """End a session; False when it had ended before, None when there is none."""
    parameters = {"id": session_id, "account_id": account_id, "user_id": user_id, "now": now}
    row = await (await conn.execute(_QUERIES["session_end"], parameters)).fetchone()
    return None if row is None else row[0]


async def sessions_end(
    conn: Connection, *, account_id: UUID, user_id: UUID, kept: UUID | None, now: datetime
) -> list[UUID]:
    """End the living sessions of a user, but `kept`; return those that ended now."""
    parameters = {"account_id": account_id, "user_id": user_id, "kept": kept, "now": now}
    cursor = await conn.execute(_QUERIES["sessions_end"], parameters)
    return [row[0] for row in await cursor.fetchall()]


async def sessions_use(conn: Connection, *, used: dict[UUID, datetime]) -> set[UUID]:
    """Note when sessions were last used, and return those noted: not what was noted within a minute or is locked."""
    parameters = {"ids": list(used), "times": list(used.values()), "idle_days": SESSION_IDLE_DAYS_MAX}
    cursor = await conn.execute(_QUERIES["sessions_use"], parameters)
    return {row[0] for row in await cursor.fetchall()}


async def user_get(conn: Connection, *, account_id: UUID, user_id: UUID) -> User | None:
    """Return a user of the account."""
    async with conn.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute(_QUERIES["user_get"], {"id": user_id, "account_id": account_id})
        return await cursor.fetchone()


async def user_of_account(conn: Connection, *, account_id: UUID) -> User | None:
    """Return the user whose personal account this is."""
    async with conn.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute(_QUERIES["user_of_account"], {"account_id": account_id})
        return await cursor.fetchone()
