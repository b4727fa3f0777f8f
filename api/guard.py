"""What stands before a handler: who is calling, and whether the rate allows it. Litestar injects the answers.

A handler that asks for `principal: Principal` is closed to others; one that asks for `visitor: Principal | None` is
open to all, at the lower rate of its address. Raw handlers call the same functions.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any

from litestar import Request

from api.auth import Principal
from api.call import Call, call_of
from api.rate import Allowance, Caller
from api.services import Services
from domain.model.errors import Code, Refusal, RefusedError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


async def authenticate(services: Services, call: Call) -> Principal:
    """Return who calls, and note it for the log. Raises RefusedError (401, 403, 503)."""
    principal = await services.authenticator.identify(call.headers.get(b"authorization", b""))
    call.principal = principal
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
    """Return the authenticated caller of a closed route."""
    call = call_of(request.scope)
    principal = await authenticate(services, call)
    await admit_request(services, call, caller_of(principal))
    services.budget_board.show(call, principal)
    return principal


async def provide_visitor(request: Request[Any, Any, Any], services: Services) -> Principal | None:
    """Return the caller of an open route, or None when no credentials were sent."""
    call = call_of(request.scope)
    if b"authorization" in call.headers:
        return await provide_principal(request, services)
    address = client_address(request.scope["client"], call.headers, services.trusted_proxies)
    await admit_request(services, call, Caller(f"ip:{address}", services.settings.rate_limit_anon_rpm))
    return None


def client_address(
    client: tuple[str, int] | None, headers: dict[bytes, bytes], trusted_proxies: Sequence[Network]
) -> str:
    """Return the address a request came from: the last in X-Forwarded-For that no trusted proxy of ours added.

    An IPv6 caller is its /64, because that is what one household or machine is given.
    """
    hops = [hop.strip() for hop in headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",") if hop.strip()]
    hops.append(client[0] if client is not None else "")
    address = _parsed(hops.pop())
    while hops and address is not None and any(address in network for network in trusted_proxies):
        forwarded = _parsed(hops.pop())
        if forwarded is None:
            break
        address = forwarded
    if address is None:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
    return str(address)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
