"""Whose key it is: what a program asks before it publishes under its own handle."""

from typing import Final
from uuid import UUID

import msgspec
from litestar import get

from api.access import ANY_KEY
from api.auth import Principal


class MeView(msgspec.Struct, frozen=True, kw_only=True):
    """The account behind a key, and what the key may."""

    account_id: UUID
    handle: str
    key_prefix: str | None
    """None for a session."""
    scopes: list[str]


@get("/auth/me", access=ANY_KEY)
async def show_me(principal: Principal) -> MeView:
    """Show whose key or session it is."""
    return MeView(
        account_id=principal.account_id,
        handle=principal.handle,
        key_prefix=principal.key_prefix,
        scopes=sorted(principal.scopes),
    )


ROUTES: Final = [show_me]
