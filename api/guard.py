"""What stands before a handler, and before its body is read: who is calling, and whether the rate allows it.

A handler that asks for `principal: Principal` is closed to others, and says in its decorator what a key needs
(`access=needs(KeyScope.CASTS_READ)`, see `api.access`); one that asks for `visitor: Principal | None` is open to all,
at the lower rate of its address. Raw handlers call the same functions.

Every route is limited. What its request weighs stands beside its access (`weight=PUBLISH`, see `api.weights`), else it
is one; `rate=PAGES_RPM` gives its addresses a rate of its own; `unlimited="why"` is for what must always be answered.
"""

from functools import lru_cache, partial
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from api.access import Access
from api.admission.rate import Allowance, Caller
from api.auth import Principal
from api.call import Call, call_of
from api.services import Services
from api.sessions.cookies import clear_session_cookie, session_token_of
from api.sessions.known import session_token
from api.web_safety import SAFE_METHODS
from api.weights import PREFLIGHTS_RPM
from domain.model.errors import Code, Refusal, RefusedError, refuse

# As many as keys are remembered; a name is made once, not with each request.
CALLERS_REMEMBERED_MAX: Final = 10_000


async def authenticate(services: Services, call: Call, *, asked_again: bool = False) -> Principal:
    """Return who calls, and note it for the log, and his budget for the answer. Raises RefusedError (401, 403, 503).

    An Authorization header counts alone; without one the session in the browser's cookie does, and then only pages of
    ours may change anything. What changes something trusts no session from memory, so that an ended one does nothing
    from the answer on; `asked_again` says that the flow behind asks once more under the account's lock.
    A browser says which page asks: a key that names the pages it is for is refused to all others.
    """
    authorization = call.headers.get(b"authorization")
    principal = None if authorization is None else services.authenticator.recognise(authorization)
    if principal is None:
        unknown = partial(services.strangers.check, call)
        token = session_token(authorization)
        if authorization is None and (token := session_token_of(call.headers, secure=services.site.secure)) is not None:
            services.site.check(call)
        if token is not None:
            fresh = call.method not in SAFE_METHODS and not asked_again
            call.principal = await services.sessions.identify(token, fresh=fresh, unknown=unknown)
            call.budget = services.budget_board.lines(call.principal.budgeted_id)
            return call.principal
        principal = await services.authenticator.identify(authorization or b"", unknown=unknown)
    call.principal = principal
    call.budget = services.budget_board.lines(principal.budgeted_id)
    if principal.allowed_origins:
        origin = call.headers.get(b"origin")
        if origin is not None and origin.decode("latin-1") not in principal.allowed_origins:
            raise refuse(Code.FORBIDDEN, "This key is not for pages of this origin. Add it to its allowed_origins.")
    return principal


def shows_credentials(services: Services, call: Call) -> bool:
    """Tell whether a key or a session came with the request, good or not."""
    return b"authorization" in call.headers or session_token_of(call.headers, secure=services.site.secure) is not None


def caller_of(principal: Principal, *, weight: int = 1) -> Caller:
    """Return under which name the principal's requests are counted: a key has a rate of its own."""
    if principal.key_id is None:
        return _caller("account", principal.account_id.int, principal.rate_limit_rpm, weight)
    return _caller("key", principal.key_id.int, principal.rate_limit_rpm, weight)


@lru_cache(maxsize=CALLERS_REMEMBERED_MAX)
def _caller(kind: str, number: int, rpm: int, weight: int) -> Caller:
    return Caller(f"{kind}:{number:032x}", rpm, weight)


async def admit_request(services: Services, call: Call, caller: Caller) -> None:
    """Take one request from the caller's rate and note the headers. Raises RefusedError (429)."""
    note_allowance(call, caller, allowance := await services.limiter.check(caller))
    refuse_over_rate(allowance)


def note_allowance(call: Call, caller: Caller, allowance: Allowance) -> None:
    """Add the rate's headers to the answer, whatever it will be."""
    call.counted = True
    call.lines += allowance.lines
    if allowance.retry_after_s is not None:
        call.limited_by = caller.kind


async def admit_stranger(services: Services, call: Call, *, failed: bool, weight: int = 1) -> None:
    """Take one request from the rate of its address. Raises RefusedError (429).

    `failed`: it came with unknown credentials. Over the rate, the next ones are refused unseen.
    """
    try:
        await admit_request(services, call, services.strangers.caller(call, weight=weight))
    except RefusedError as error:
        if failed and error.refusal.retry_after_s is not None:
            services.strangers.bar(call, error.refusal.retry_after_s)
        raise


async def admit_preflight(services: Services, call: Call) -> None:
    """Take one preflight from its address, apart from requests. Raises RefusedError (429)."""
    await admit_request(services, call, Caller(f"preflight:{services.strangers.address(call)}", PREFLIGHTS_RPM))


async def count_late(services: Services, call: Call, code: Code | None) -> None:
    """Take a request that nobody has counted yet from its caller's rate. Raises RefusedError (429).

    `code` is what it is refused for. Do not call it for what went wrong on our side: that is held against nobody.
    """
    if call.principal is not None:
        await admit_request(services, call, caller_of(call.principal))
    else:
        await admit_stranger(services, call, failed=code is Code.UNAUTHORIZED)


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


async def judge_first(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through to its handler, once it is known who asks and how often; for every route of Litestar.

    Nobody makes us read a body, or tell what is wrong with it, who may not use the route.
    """
    services: Services = connection.app.state.services
    call = call_of(connection.scope)
    opt = handler.opt
    asked_for = handler.parsed_fn_signature.parameters
    access = opt.get("access")
    if access is not None or "principal" in asked_for:
        assert isinstance(access, Access), f"say access=needs(...) or ANY_KEY in the decorator of {handler}"
        access.check(await _admitted(services, call, opt.get("weight", 1)))
    elif "visitor" in asked_for:
        await _admit_visitor(services, call, opt.get("weight", 1))
    elif "rate" in opt:
        address = services.strangers.address(call)
        await admit_request(services, call, Caller(f"page:{address}", opt["rate"], opt.get("weight", 1)))
    elif "unlimited" in opt:
        call.counted = True


async def provide_principal(request: Request[Any, Any, Any]) -> Principal:
    """Return the authenticated caller of a closed route, who has what the route needs."""
    principal = call_of(request.scope).principal
    assert principal is not None, "judge_first lets nobody else through"
    return principal


async def provide_visitor(request: Request[Any, Any, Any]) -> Principal | None:
    """Return the caller of an open route, or None when no credentials were sent."""
    return call_of(request.scope).principal


async def _admit_visitor(services: Services, call: Call, weight: int) -> None:
    ended = False
    if b"authorization" in call.headers:
        await _admitted(services, call, weight)
        return
    if session_token_of(call.headers, secure=services.site.secure) is not None:
        # Browsers send cookies unasked: a session that has ended makes nobody's page of the store fail.
        try:
            await _admitted(services, call, weight)
        except RefusedError as error:
            if call.counted or error.refusal.code not in {Code.UNAUTHORIZED, Code.RATE_LIMITED}:
                raise
            if ended := error.refusal.code is Code.UNAUTHORIZED:
                clear_session_cookie(call.answer_headers, secure=services.site.secure)
        else:
            return
    await admit_stranger(services, call, failed=ended, weight=weight)


async def _admitted(services: Services, call: Call, weight: int) -> Principal:
    principal = await authenticate(services, call)
    await admit_request(services, call, caller_of(principal, weight=weight))
    return principal
