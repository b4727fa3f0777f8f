"""DELETE /v1/account: take the person out of the account, for good."""

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Request, delete
from litestar.params import Parameter

from api.access import SESSION_ONLY
from api.auth import Principal
from api.call import call_of
from api.services import Services
from api.sessions.cookies import clear_session_cookie
from domain.flow.request_erasure import request_erasure
from domain.model.audit import Actor
from domain.model.erasure import pseudonym_of
from domain.store.connection import transaction


class ErasedView(msgspec.Struct, frozen=True, kw_only=True):
    """The account as it is from now on: a pseudonym."""

    account_id: UUID
    handle: str
    status: str = "erasing"
    """The rest goes in the background; nobody can sign in to look."""


@delete("/v1/account", status_code=202, access=SESSION_ONLY, tags=["privacy"])
async def erase_account(
    request: Request[Any, Any, Any],
    services: Services,
    principal: Principal,
    actor: Actor,
    confirm: Annotated[str, Parameter(description="The account's handle, to say that it is meant.")] = "",
) -> ErasedView:
    """Erase your account. Needs a session that began within 15 minutes. It cannot be taken back.

    With the answer every session and key has ended, nobody can sign in to the account, and nothing leads from it to
    you. What casts read and wrote goes in the background; the books stay, under a pseudonym.
    """
    assert principal.session_id is not None, "the route is for sessions only"
    async with transaction(services.engine_pool) as connection:
        await request_erasure(
            connection,
            account_id=principal.account_id,
            session_id=principal.session_id,
            confirm=confirm,
            actor=actor,
        )
    services.sessions.forget({principal.session_id})
    call = call_of(request.scope)
    if b"authorization" not in call.headers:
        clear_session_cookie(call.answer_headers, secure=services.site.secure)
    return ErasedView(account_id=principal.account_id, handle=pseudonym_of(principal.account_id))


ROUTES: Final = [erase_account]
