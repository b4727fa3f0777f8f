"""Logins by a mailed link. Opening it shows a button and changes nothing: programs that scan mail open it too."""

import html
import os
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from litestar import Response, get, post

from api.admission.rate import Caller
from api.call import call_of
from api.guard import refuse_over_rate
from api.login.bodies import (
    BODY_BYTES_MAX,
    AskBody,
    AskedView,
    AskOperation,
    FollowBody,
    FollowOperation,
    MailedSessionView,
    read_body,
)
from api.login.finish import AnyRequest, begin_again, finish, open_for, redirect, to_own_host, value_of
from api.services import Services
from api.sessions.browser import browser_binding
from api.sessions.pages import page
from api.web_safety import safe_return_path
from api.weights import LOGIN, PAGES_RPM, REACH_OUT
from domain.flow.magic_link import ask_link, follow_link, look_at_link
from domain.model.errors import Code, Fault, refuse
from domain.model.login import LINK_S, LINK_SEED_BYTES, read_address
from domain.store.connection import transaction

ASK_PATH: Final = "/auth/magic-link"
FOLLOW_PATH: Final = "/auth/verify"
# Of one address of the network: whoever mistypes his own address a few times, and no machine that mails the world.
ASKED_RPM: Final = 5

_OVER: Final = "This link is over, or was used already. Links work once, for a quarter of an hour."
_OTHER_BROWSER: Final = (
    "This link works in the browser that asked for it, and in no other: so nobody can sign you in to his account, and "
    "nobody who reads your mail gets into yours. Open it there, or ask for a new one here."
)


@post(
    ASK_PATH,
    status_code=202,
    request_max_body_size=BODY_BYTES_MAX,
    operation_class=AskOperation,
    rate=PAGES_RPM,
    weight=REACH_OUT,
)
async def ask(request: AnyRequest, services: Services) -> Response[Any]:
    """Mail a link to sign in with. The answer is the same whoever has the address, and how often it was asked for.

    `{email, return_to}` as JSON, or as the form of the login page. The link works once, for 15 minutes, in the browser
    (the cookies) that asked for it.
    """
    if services.settings.smtp_url is None:
        raise refuse(Code.NOT_AVAILABLE, "This platform sends no mail. Sign in another way; /login shows them.")
    is_form, body = await read_body(request, services, AskBody)
    await _limit(request, services)
    email = read_address(body.email)
    if email is None:
        return _no_address(is_form=is_form)
    binding, cookie = browser_binding(request)
    async with transaction(services.engine_pool) as connection:
        await ask_link(
            connection,
            email=email,
            binding=binding,
            return_to=safe_return_path(body.return_to, default="/account"),
            signing_key=services.settings.webhook_signing_key.reveal(),
            mail_id=uuid4(),
            now=services.now(),
            entropy=os.urandom(LINK_SEED_BYTES),
        )
    if cookie is not None:
        call_of(request.scope).answer_headers.append(cookie)
    if not is_form:
        detail = "A link is on its way, if mail can reach this address. Open it in the browser that asked for it."
        return Response(AskedView(detail=detail, expires_in=LINK_S), status_code=202)
    text = (
        f"<p>A link is on its way to <strong>{html.escape(email)}</strong>. Open it in this browser; it works once, "
        f"for {LINK_S // 60} minutes.</p><p>Nothing came? Look among the unwanted mail, then "
        f'<a href="/login">ask again</a>.</p>'
    )
    return page("Look into your mail", text, status=202)


@get(FOLLOW_PATH, include_in_schema=False, rate=PAGES_RPM)
async def show(request: AnyRequest, services: Services) -> Response[str]:
    """Show the button that signs in; nothing changes, however often this is opened."""
    token = value_of(request, "token") or ""
    if to_own_host(request, services) is not None:
        return redirect(f"{services.settings.public_url}{FOLLOW_PATH}?{urlencode({'token': token})}")
    binding, _ = browser_binding(request)
    async with transaction(services.engine_pool) as connection:
        link = await look_at_link(connection, token=token, binding=binding, now=services.now())
    if link is None:
        return begin_again("Not signed in", _OVER, status=400)
    if not link.same_browser:
        return begin_again("Another browser", _OTHER_BROWSER, status=400)
    text = (
        f"<p>Sign in as <strong>{html.escape(link.email)}</strong>?</p>"
        f'<form method="post" action="{FOLLOW_PATH}"><input type="hidden" name="token" value="{html.escape(token)}">'
        f"<button>Sign in</button></form>"
    )
    return page("Sign in", text)


@post(
    FOLLOW_PATH,
    status_code=200,
    request_max_body_size=BODY_BYTES_MAX,
    operation_class=FollowOperation,
    rate=PAGES_RPM,
    weight=LOGIN,
)
async def follow(request: AnyRequest, services: Services) -> Response[Any]:
    """Use a mailed link up.

    `{token}`, as JSON or as the form of the page, with the cookies of the browser that asked for the link. A form is
    answered with the session's cookie and the way to where the login began, JSON with a Bearer token.
    """
    is_form, body = await read_body(request, services, FollowBody)
    binding, _ = browser_binding(request)
    async with transaction(services.engine_pool) as connection:
        followed = await follow_link(connection, token=body.token, binding=binding, now=services.now())
    if followed is None:
        if is_form:
            return begin_again("Not signed in", _OVER, status=400)
        raise refuse(Code.EXPIRED_TOKEN, "This link is over, was used, or belongs to another browser. Ask for another.")
    identity, return_to = followed
    if is_form:
        return await finish(request, services, identity, return_to)
    opened = await open_for(request, services, identity)
    view = MailedSessionView(session_token=opened.token, token_type="bearer", expires_at=opened.expires_at)  # noqa: S106  # RFC 6750
    return Response(view, status_code=200)


async def _limit(request: AnyRequest, services: Services) -> None:
    address = services.strangers.address(call_of(request.scope))
    refuse_over_rate(await services.limiter.check(Caller(f"link:{address}", ASKED_RPM)))


def _no_address(*, is_form: bool) -> Response[Any]:
    if is_form:
        return begin_again("Not sent", "That is no address that mail can be sent to.", status=422)
    fault = Fault(location="email", message="no mail can be sent there", fix="Write it like name@example.com.")
    raise refuse(Code.VALIDATION, "The request does not fit at: email.", faults=(fault,))


ROUTES: Final = [ask, show, follow]
