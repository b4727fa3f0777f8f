"""What stands before a handler: who is calling, and whether the rate allows it. Litestar injects the answers.

A handler that asks for `principal: Principal` is closed to others, and says in its decorator what a key needs
(`access=needs(KeyScope.CASTS_READ)`, see `api.access`); one that asks for `visitor: Principal | None` is open to all,
at the lower rate of its address. Raw handlers call the same functions.
"""

from typing import Any

from litestar import Request

from api.access import Access
from api.admission.rate import Allowance, Caller
from api.auth import Principal
from api.call import Call, call_of
from api.services import Services
from api.sessions.cookies import clear_session_cookie, session_token_of
from api.sessions.known import session_token
from api.web_safety import SAFE_METHODS
from domain.model.errors import Code, Refusal, RefusedError, refuse


async def authenticate(services: Services, call: Call, *, asked_again: bool = False) -> Principal:
    """Return who calls, and note it for the log. Raises RefusedError (401, 403, 503).

    An Authorization header counts alone; without one the session in the browser's cookie does, and then only pages of
    ours may change anything. What changes something trusts no session from memory, so that an ended one does nothing
    from the answer on; `asked_again` says that the flow behind asks once more under the account's lock.
    A browser says which page asks: a key that names the pages it is for is refused to all others.
    """
    authorization = call.headers.get(b"authorization")
    token = session_token(authorization)
    if authorization is None and (token := session_token_of(call.headers, secure=services.site.secure)) is not None:
        services.site.check(call)
    if token is not None:
        fresh = call.method not in SAFE_METHODS and not asked_again
        call.principal = await services.sessions.identify(token, fresh=fresh)
        return call.principal
    principal = await services.authenticator.identify(authorization or b"")
    call.principal = principal
    if principal.allowed_origins:
        origin = call.headers.get(b"origin")
        if origin is not None and origin.decode("latin-1") not in principal.allowed_origins:
            raise refuse(Code.FORBIDDEN, "This key is not for pages of this origin. Add it to its allowed_origins.")
    return principal


def shows_credentials(services: Services, call: Call) -> bool:
    """Tell whether a key or a session came with the request, good or not."""
    return b"authorization" in call.headers or session_token_of(call.headers, secure=services.site.secure) is not None


def caller_of(principal: Principal) -> Caller:
    """Return under which name the principal's requests are counted: a key has a rate of its own."""
    subject = principal.account_id if principal.key_id is None else principal.key_id
    return Caller(subject.hex, principal.rate_limit_rpm)


async def admit_request(services: Services, call: Call, caller: Caller) -> None:
    """Take one request from the caller's rate and note the headers. Raises RefusedError (429)."""
    allowance = await services.limiter.check(caller)
    call.answer_headers += allowance.headers(int(services.now().timestamp()))
    refuse_over_rate(allowance)


def refuse_over_rate(allowance: Allowance) -> None:
    """Raise RefusedError (429) when the request may not pass."""
    if allowance.retry_after_s is not None:
        raise RefusedError(
            Refusal(
                code=Code.RATE_LIMITED,
                detail=f"More than {allowance.limit} requests a minute. Slow down.",
                retry_after_s=allowance.retry_after_s,
            )
        )


async def provide_principal(request: Request[Any, Any, Any], services: Services) -> Principal:
    """Return the authenticated caller of a closed route, who has what the route needs."""
    access = request.route_handler.opt.get("access")
    assert isinstance(access, Access), f"say access=needs(...) or ANY_KEY in the decorator of {request.url.path}"
    principal = await _admitted(request, services)
    access.check(principal)
    return principal


async def provide_visitor(request: Request[Any, Any, Any], services: Services) -> Principal | None:
    """Return the caller of an open route, or None when no credentials were sent."""
    call = call_of(request.scope)
    if b"authorization" in call.headers:
        return await _admitted(request, services)
    if session_token_of(call.headers, secure=services.site.secure) is not None:
        # Browsers send cookies unasked: a session that has ended makes nobody's page of the store fail.
        try:
            return await _admitted(request, services)
        except RefusedError as error:
            if error.refusal.code is not Code.UNAUTHORIZED:
                raise
            clear_session_cookie(call.answer_headers, secure=services.site.secure)
    address = services.proxies.client_address(request.scope["client"], call.headers)
    await admit_request(services, call, Caller(f"ip:{address}", services.settings.rate_limit_anon_rpm))
    return None


async def _admitted(request: Request[Any, Any, Any], services: Services) -> Principal:
    call = call_of(request.scope)
    principal = await authenticate(services, call)
    await admit_request(services, call, caller_of(principal))
    services.budget_board.show(call, principal)
    return principal
