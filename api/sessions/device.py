"""The login of a command line over HTTP (after RFC 8628): the program's two requests, the person's two pages."""

import hashlib
import html
import os
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body

from api import weights
from api.access import SESSION_ONLY
from api.admission.rate import Caller
from api.auth import Principal
from api.call import call_of
from api.guard import admit_request
from api.services import Services
from api.sessions.pages import page
from domain.flow.begin_device_login import begin_device_login
from domain.flow.decide_device_login import decide_device_login
from domain.flow.finish_device_login import finish_device_login
from domain.model.audit import Actor
from domain.model.device_login import (
    DEVICE_LOGIN_S,
    DEVICE_NAME_CHARACTERS_MAX,
    ENTROPY_BYTES,
    POLL_INTERVAL_S,
    read_user_code,
)
from domain.model.errors import Code, RefusedError, refuse
from domain.model.session import ENTROPY_BYTES as SESSION_ENTROPY_BYTES
from domain.store.connection import transaction
from domain.store.device_logins import PendingDevice, device_login_by_code

PAGE: Final = "/auth/device"
# A program that asks as it was told sends twelve a minute; one that asks twice as often hears of it.
_POLLS_RPM: Final = 24
# Of one address: an office of programs that log in at once, and no more guesses than that at a secret of 256 bits.
_ADDRESS_RPM: Final = 240
_USER_CODE_CHARACTERS_MAX: Final = 20


class DeviceBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a program says of itself; the person who confirms sees it."""

    device_name: Annotated[str, msgspec.Meta(min_length=1, max_length=DEVICE_NAME_CHARACTERS_MAX)]


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """What the program shows and polls with."""

    device_code: str
    """A secret of the program."""
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    """The same with the code filled in."""
    expires_in: int
    """Seconds."""
    interval: int
    """Seconds between two polls."""


class PollBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One poll."""

    device_code: Annotated[str, msgspec.Meta(max_length=100)]


class CliSessionView(msgspec.Struct, frozen=True, kw_only=True):
    """The session of the program, shown this once."""

    session_token: str
    token_type: str
    expires_at: datetime


class DecisionForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the page."""

    user_code: Annotated[str, msgspec.Meta(max_length=_USER_CODE_CHARACTERS_MAX)]
    decision: Literal["approve", "deny"]


@post(PAGE, status_code=200, weight=weights.LOGIN)
async def begin(services: Services, visitor: Principal | None, data: DeviceBody) -> DeviceView:
    """Begin the login of a program: show the person `user_code` and the address, then poll."""
    del visitor  # whoever is signed in here already may sign in another program
    if not data.device_name.isprintable():
        raise refuse(Code.VALIDATION, "A device_name has printable characters only.")
    async with transaction(services.engine_pool) as connection:
        codes = await begin_device_login(
            connection, device_name=data.device_name, now=services.now(), entropy=os.urandom(ENTROPY_BYTES)
        )
    address = f"{services.settings.public_url}{PAGE}"
    return DeviceView(
        device_code=codes.device_code,
        user_code=codes.user_code,
        verification_uri=address,
        verification_uri_complete=f"{address}?{urlencode({'user_code': codes.user_code})}",
        expires_in=DEVICE_LOGIN_S,
        interval=POLL_INTERVAL_S,
    )


@post(f"{PAGE}/token", status_code=200)
async def poll(request: Request[Any, Any, Any], services: Services, data: PollBody) -> CliSessionView:
    """Ask whether the login was confirmed: the session once it is, until then 400 `authorization_pending`.

    400 also for `slow_down`, `access_denied` and `expired_token`, as RFC 8628 names them.
    """
    call = call_of(request.scope)
    address = services.proxies.client_address(request.scope["client"], call.headers)
    await admit_request(services, call, Caller(f"device:{address}", _ADDRESS_RPM))
    name = hashlib.sha256(data.device_code.encode()).hexdigest()
    if (await services.limiter.check(Caller(f"device:{name}", _POLLS_RPM))).retry_after_s is not None:
        raise refuse(Code.SLOW_DOWN, f"Ask every {POLL_INTERVAL_S} seconds, and now a little later.")
    async with transaction(services.engine_pool) as connection:
        opened = await finish_device_login(
            connection,
            device_code=data.device_code,
            address=address,
            request_id=call.request_id,
            now=services.now(),
            entropy=os.urandom(SESSION_ENTROPY_BYTES),
        )
    return CliSessionView(session_token=opened.token, token_type="bearer", expires_at=opened.expires_at)  # noqa: S106  # the word of RFC 6750


@get(PAGE, include_in_schema=False)
async def confirm_page(services: Services, visitor: Principal | None, user_code: str = "") -> Response[str]:
    """Show who wants to be let in, to whoever is signed in; a GET changes nothing."""
    code = read_user_code(user_code[:_USER_CODE_CHARACTERS_MAX])
    if visitor is None or visitor.session_id is None:
        here = PAGE if code is None else f"{PAGE}?{urlencode({'user_code': code})}"
        return Response("", status_code=303, headers={"location": f"/login?{urlencode({'return_to': here})}"})
    if code is None:
        wrong = "<p>That is no code.</p>" if user_code else ""
        return page("Sign in a command line", f"{wrong}{_CODE_FORM}")
    async with transaction(services.engine_pool) as connection:
        pending = await device_login_by_code(connection, user_code=code, now=services.now())
    if pending is None:
        return page("Sign in a command line", f"{_GONE}{_CODE_FORM}", status=404)
    return page("Sign in a command line", _question(pending, visitor.handle))


@post(f"{PAGE}/confirm", status_code=200, include_in_schema=False, access=SESSION_ONLY, weight=weights.LOGIN)
async def confirm(
    services: Services,
    principal: Principal,
    actor: Actor,
    data: Annotated[DecisionForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Response[str]:
    """Let the program in, or turn it down."""
    assert principal.user_id is not None, "the route is for sessions only"
    approved = data.decision == "approve"
    try:
        async with transaction(services.engine_pool) as connection:
            await decide_device_login(
                connection,
                user_code=data.user_code,
                account_id=principal.account_id,
                user_id=principal.user_id,
                approved=approved,
                actor=actor,
                now=services.now(),
            )
    except RefusedError as error:
        if error.refusal.code is not Code.NOT_FOUND:
            raise
        return page("Sign in a command line", f"{_GONE}{_CODE_FORM}", status=404)
    if approved:
        return page("Signed in", "<p>The command line goes on by itself. You can close this page.</p>")
    return page("Turned down", "<p>The command line was not let in. You can close this page.</p>")


def _question(pending: PendingDevice, handle: str) -> str:
    code, device = html.escape(pending.user_code), html.escape(pending.device_name)
    begun = pending.created_at.strftime("%H:%M UTC")
    return (
        f"<p>A program that calls itself <strong>{device}</strong> wants to act as "
        f"<strong>{html.escape(handle)}</strong>. It began at {begun}.</p>"
        f"<p>Does it show the code <code>{code}</code>? If you did not begin this yourself, turn it down: "
        f"whoever sent you here would get into your account.</p>"
        f'<form method="post" action="{PAGE}/confirm"><input type="hidden" name="user_code" value="{code}">'
        f'<button name="decision" value="approve">The codes are equal: let it in</button> '
        f'<button name="decision" value="deny">Turn it down</button></form>'
    )


_GONE: Final = "<p>This code is unknown or no longer good. Begin again with <code>spell login</code>.</p>"
_CODE_FORM: Final = (
    f'<form method="get" action="{PAGE}"><p><label>The code that the command line shows: '
    f'<input name="user_code" autocomplete="off" required maxlength="{_USER_CODE_CHARACTERS_MAX}"></label> '
    f"<button>Go on</button></p></form>"
)

ROUTES: Final = [begin, poll, confirm_page, confirm]
