"""The pages of a person: where to sign in, and who is signed in."""

import html
from typing import Final
from urllib.parse import quote, urlsplit

from litestar import Response, get, post

from api.access import SESSION_ONLY
from api.auth import Principal
from api.call import call_of
from api.login.finish import ACCOUNT_PAGE, LOGIN_PAGE, AnyRequest, redirect, return_path, to_own_host
from api.services import Services
from api.sessions.cookies import clear_session_cookie, session_token_of
from api.sessions.known import session_token
from api.sessions.pages import page
from api.weights import PAGES_RPM
from domain.flow.end_session import end_session_of_token
from domain.model.login import ADDRESS_CHARACTERS_MAX
from domain.store.connection import account_transaction, transaction
from domain.store.sessions import user_get


@get(LOGIN_PAGE, include_in_schema=False, rate=PAGES_RPM)
async def login_page(request: AnyRequest, services: Services) -> Response[str]:
    """Offer every way to sign in that is set up; who is signed in may sign in as somebody else."""
    own = to_own_host(request, services)
    return page("Sign in", _ways(services, return_path(request))) if own is None else own


@get(ACCOUNT_PAGE, include_in_schema=False)
async def account_page(services: Services, visitor: Principal | None) -> Response[str]:
    """Say who is signed in."""
    if visitor is None or visitor.session_id is None or visitor.user_id is None:
        return redirect(f"{LOGIN_PAGE}?return_to={ACCOUNT_PAGE}")
    async with account_transaction(services.app_pool, visitor.account_id) as connection:
        user = await user_get(connection, account_id=visitor.account_id, user_id=visitor.user_id)
    assert user is not None, "a session has a user"
    lines = [f"<p>Signed in as <strong>{html.escape(visitor.handle)}</strong>.</p>"]
    if user.name:
        lines.append(f"<p>Name: {html.escape(user.name)}</p>")
    if user.email is not None:
        lines.append(f"<p>Mail: {html.escape(user.email)}</p>")
    lines.append(
        "<p>At a command line, <code>spell login</code> signs in as the same; "
        '<a href="/docs">all requests and answers</a>.</p>'
        f'<form method="post" action="{ACCOUNT_PAGE}/sign-out"><button>Sign out</button></form>'
    )
    return page("Your account", "".join(lines))


@post(f"{ACCOUNT_PAGE}/sign-out", status_code=303, include_in_schema=False, access=SESSION_ONLY)
async def sign_out(request: AnyRequest, services: Services, principal: Principal) -> Response[str]:
    """End the session of the browser, and show where to sign in."""
    assert principal.session_id is not None, "the route is for sessions only"
    call = call_of(request.scope)
    shown = session_token(call.headers.get(b"authorization"))
    token = shown or session_token_of(call.headers, secure=services.site.secure)
    assert token is not None, "a session was shown"
    async with transaction(services.engine_pool) as connection:
        await end_session_of_token(
            connection, token=token, address=services.strangers.address(call), request_id=call.request_id
        )
    clear_session_cookie(call.answer_headers, secure=services.site.secure)
    return redirect(LOGIN_PAGE)


def _ways(services: Services, return_to: str) -> str:
    query = quote(return_to, safe="")
    ways: list[str] = []
    if services.github is not None:
        ways.append(f'<p><a href="/auth/github?return_to={query}">Continue with GitHub</a></p>')
    if services.oidc is not None:
        host = html.escape(urlsplit(services.oidc.issuer).netloc)
        ways.append(f'<p><a href="/auth/oidc?return_to={query}">Continue with {host}</a></p>')
    if services.settings.smtp_url is not None:
        ways.append(
            '<form method="post" action="/auth/magic-link"><p><label>Mail address: <input type="email" name="email" '
            f'required autocomplete="email" maxlength="{ADDRESS_CHARACTERS_MAX}"></label> '
            f'<input type="hidden" name="return_to" value="{html.escape(return_to)}">'
            "<button>Mail me a link</button></p></form>"
        )
    if not ways:
        return (
            "<p>No way to sign in is set up. The operator sets <code>GITHUB_CLIENT_ID</code>, "
            "<code>OIDC_ISSUER</code> or <code>SMTP_URL</code>; API keys work without.</p>"
        )
    return "".join(ways)


ROUTES: Final = [login_page, account_page, sign_out]
