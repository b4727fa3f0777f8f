"""A user's sessions over HTTP: which there are, and how one ends."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post

from api.access import SESSION_ONLY
from api.auth import Principal
from api.call import call_of
from api.services import Services
from api.sessions.cookies import clear_session_cookie
from domain.flow.end_session import end_other_sessions, end_session
from domain.model.audit import Actor
from domain.model.session import SESSIONS_PER_USER_MAX, device_of
from domain.store.connection import account_transaction, transaction
from domain.store.sessions import Session, sessions_list


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """One session. `device` is what it says of itself, which anybody could say."""

    id: UUID
    kind: str
    device: str
    address: str
    """Where it began."""
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    """It ends then, or a week after its last use."""
    current: bool
    """This very request came with it."""


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """Every living session, the last used first."""

    data: list[SessionView]
    next_cursor: str | None = None
    has_more: bool = False


class EndedView(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions ended."""

    ended: int


@get("/v1/sessions", access=SESSION_ONLY)
async def list_sessions(services: Services, principal: Principal) -> SessionList:
    """List where you are signed in."""
    user_id, session_id = _person(principal)
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        rows = await sessions_list(
            connection, account_id=principal.account_id, user_id=user_id, limit=SESSIONS_PER_USER_MAX
        )
    return SessionList(data=[_view(row, session_id) for row in rows])


@delete("/v1/sessions/{session_id:uuid}", status_code=204, access=SESSION_ONLY)
async def end_one(
    request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor, session_id: UUID
) -> None:
    """End a session. From this answer on it casts nothing and changes nothing."""
    user_id, current = _person(principal)
    async with transaction(services.engine_pool) as connection:
        await end_session(
            connection, account_id=principal.account_id, user_id=user_id, session_id=session_id, actor=actor
        )
    services.sessions.forget({session_id})
    if session_id == current:
        _forget(request, services)


@delete("/v1/sessions", status_code=200, access=SESSION_ONLY)
async def end_others(services: Services, principal: Principal, actor: Actor) -> EndedView:
    """End all your sessions but the one that asks."""
    user_id, current = _person(principal)
    async with transaction(services.engine_pool) as connection:
        ended = await end_other_sessions(
            connection, account_id=principal.account_id, user_id=user_id, kept=current, actor=actor
        )
    services.sessions.forget(ended)
    return EndedView(ended=len(ended))


@post("/auth/logout", status_code=204, access=SESSION_ONLY)
async def log_out(request: Request[Any, Any, Any], services: Services, principal: Principal, actor: Actor) -> None:
    """End the session that asks, and take its cookie from the browser."""
    user_id, current = _person(principal)
    async with transaction(services.engine_pool) as connection:
        await end_session(connection, account_id=principal.account_id, user_id=user_id, session_id=current, actor=actor)
    services.sessions.forget({current})
    _forget(request, services)


def _person(principal: Principal) -> tuple[UUID, UUID]:
    assert principal.user_id is not None, "the route is for sessions only"
    assert principal.session_id is not None, "the route is for sessions only"
    return principal.user_id, principal.session_id


def _forget(request: Request[Any, Any, Any], services: Services) -> None:
    call = call_of(request.scope)
    if b"authorization" not in call.headers:  # a cookie beside a Bearer token is another session, or none
        clear_session_cookie(call.answer_headers, secure=services.site.secure)


def _view(row: Session, current: UUID) -> SessionView:
    return SessionView(
        id=row.id,
        kind=row.kind,
        device=device_of(row.user_agent) if row.kind == "browser" else f"spell on {row.user_agent}",
        address=row.address,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        current=row.id == current,
    )


ROUTES: Final = [list_sessions, end_one, end_others, log_out]
