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
from domain.model.errors import Code, Refusal, RefusedError, refuse


async def authenticate(services: Services, call: Call) -> Principal:
    """Return who calls, and note it for the log. Raises RefusedError (401, 403, 503).

    A browser says which page asks: a key that names the pages it is for is refused to all others.
    """
    principal = await services.authenticator.identify(call.headers.get(b"authorization", b""))
    call.principal = principal
    if principal.allowed_origins:
        origin = call.headers.get(b"origin")
        if origin is not None and origin.decode("latin-1") not in principal.allowed_origins:
            raise refuse(Code.FORBIDDEN, "This key is not for pages of this origin. Add it to its allowed_origins.")
    return principal


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
    address = services.proxies.client_address(request.scope["client"], call.headers)
    await admit_request(services, call, Caller(f"ip:{address}", services.settings.rate_limit_anon_rpm))
    return None


async def _admitted(request: Request[Any, Any, Any], services: Services) -> Principal:
    call = call_of(request.scope)
    principal = await authenticate(services, call)
    await admit_request(services, call, caller_of(principal))
    services.budget_board.show(call, principal)
    return principal
