"""Whose key or session it is: what a program asks before it publishes under its own handle."""

from typing import Final
from uuid import UUID

import msgspec
from litestar import get

from api.access import ANY_KEY_OF_ANY_MODE
from api.auth import Principal
from api.services import Services
from domain.model.key_rules import ACCOUNT_SCOPES
from domain.model.modes import Mode
from domain.store.connection import account_transaction
from domain.store.sessions import user_get


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """The person who is signed in."""

    id: UUID
    name: str
    email: str | None
    role: str


class MeView(msgspec.Struct, frozen=True, kw_only=True):
    """The account behind a key or a session, and what it may."""

    account_id: UUID
    handle: str
    key_prefix: str | None
    """None for a session."""
    mode: Mode
    """`test`: a test key."""
    scopes: list[str]
    """A session has all that concern its own account."""
    session_id: UUID | None = None
    """None for a key."""
    user: UserView | None = None
    """None for a key."""


@get("/auth/me", access=ANY_KEY_OF_ANY_MODE)
async def show_me(services: Services, principal: Principal) -> MeView:
    """Show whose key or session it is."""
    return MeView(
        account_id=principal.account_id,
        handle=principal.handle,
        key_prefix=principal.key_prefix,
        mode=Mode.TEST if principal.test else Mode.LIVE,
        scopes=sorted(principal.scopes if principal.key_id is not None else ACCOUNT_SCOPES),
        session_id=principal.session_id,
        user=await _user(services, principal),
    )


async def _user(services: Services, principal: Principal) -> UserView | None:
    if principal.user_id is None:
        return None
    async with account_transaction(services.app_pool, principal.account_id) as connection:
        user = await user_get(connection, account_id=principal.account_id, user_id=principal.user_id)
    assert user is not None, "a session has a user"
    return UserView(id=user.id, name=user.name, email=user.email, role=user.role)


ROUTES: Final = [show_me]
