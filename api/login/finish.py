"""The end of every login, and what all of them need on the way."""

import os
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import urlencode, urlsplit

from litestar import Request, Response

from api.call import call_of
from api.services import Services
from api.sessions.cookies import session_token_of, set_session_cookie
from api.sessions.pages import page
from api.web_safety import safe_return_path
from domain.flow.create_user import Plan
from domain.flow.end_session import end_session_of_token
from domain.flow.open_session import open_session
from domain.flow.sign_in import ENTROPY_BYTES, sign_in
from domain.model.errors import Code, RefusedError
from domain.model.login import ProvenIdentity
from domain.model.session import ENTROPY_BYTES as SESSION_ENTROPY_BYTES
from domain.model.session import OpenedSession
from domain.store.connection import transaction

LOGIN_PAGE: Final = "/login"
ACCOUNT_PAGE: Final = "/account"

# GitHub's codes are 20 characters, some issuers' a whole encrypted token.
_VALUE_CHARACTERS_MAX: Final = 4_096
# Names of one machine: a cookie set under one of them is not sent to another.
_THIS_MACHINE: Final = frozenset({"127.0.0.1", "localhost", "::1"})

AnyRequest = Request[Any, Any, Any]


async def finish(request: AnyRequest, services: Services, identity: ProvenIdentity, return_to: str) -> Response[str]:
    """Sign a browser in and send it on to `return_to`, which was checked when the login began.

    The session is a new one, whatever the browser showed: the one before ends, if it is alive.
    """
    try:
        opened = await open_for(request, services, identity)
    except RefusedError as error:
        if error.refusal.code is not Code.FORBIDDEN:
            raise
        return page("Not signed in", f"<p>{error.refusal.detail}</p>", status=403)
    set_session_cookie(call_of(request.scope).answer_headers, opened, secure=services.site.secure)
    return redirect(return_to)


async def open_for(request: AnyRequest, services: Services, identity: ProvenIdentity) -> OpenedSession:
    """Open a session for who proved `identity`, and end the one the browser had.

    Raises RefusedError (forbidden) for a suspended account.
    """
    call = call_of(request.scope)
    settings, now = services.settings, services.now()
    address = services.strangers.address(call)
    shown = session_token_of(call.headers, secure=services.site.secure)
    async with transaction(services.engine_pool) as connection:
        if shown is not None:
            await end_session_of_token(connection, token=shown, address=address, request_id=call.request_id)
        plan = cast("Plan", settings.billing_plan_default)
        user = await sign_in(
            connection,
            identity,
            plan=plan,
            address=address,
            request_id=call.request_id,
            now=now,
            entropy=os.urandom(ENTROPY_BYTES),
        )
        return await open_session(
            connection,
            user_id=user.user_id,
            account_id=user.account_id,
            kind="browser",
            user_agent=call.headers.get(b"user-agent", b"").decode("latin-1"),
            address=address,
            request_id=call.request_id,
            now=now,
            entropy=os.urandom(SESSION_ENTROPY_BYTES),
        )


def redirect(location: str) -> Response[str]:
    """Return the answer that sends a browser on, with GET."""
    return Response("", status_code=303, headers={"location": location})


def to_own_host(request: AnyRequest, services: Services) -> Response[str] | None:
    """Return the way to the same page under PUBLIC_URL, for who typed another name of this machine.

    Whoever began at localhost would come back to 127.0.0.1 without the cookie that the login belongs to.
    """
    ours = urlsplit(services.settings.public_url)
    host = urlsplit(f"//{request.headers.get('host', '')}")
    if ours.hostname not in _THIS_MACHINE or _name(host.hostname) not in _THIS_MACHINE:
        return None
    if _name(host.hostname) == ours.hostname:
        return None
    query = urlencode({"return_to": return_path(request)})
    return redirect(f"{services.settings.public_url}{request.url.path}?{query}")


def return_path(request: AnyRequest) -> str:
    """Return where a login leads by its query: a path of ours, whatever was asked for."""
    return safe_return_path(value_of(request, "return_to"), default=ACCOUNT_PAGE)


def value_of(request: AnyRequest, name: str) -> str | None:
    """Return a value of the query; None when it is missing, stands twice, or is longer than any."""
    values = cast("list[str]", request.query_params.getall(name, []))
    return values[0] if len(values) == 1 and len(values[0]) <= _VALUE_CHARACTERS_MAX else None


def begin_again(title: str, why: str, *, status: int, return_to: str | None = None) -> Response[str]:
    """Return a page that says what went wrong, and where to begin again. `why` is HTML of ours."""
    query: Mapping[str, str] = {} if return_to is None else {"return_to": return_to}
    address = f"{LOGIN_PAGE}?{urlencode(query)}" if query else LOGIN_PAGE
    return page(title, f'<p>{why}</p><p><a href="{address}">Sign in</a></p>', status=status)


def _name(host: str | None) -> str:
    return (host or "").lower()
