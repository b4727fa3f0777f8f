"""Logins at somebody else's page: GitHub's, or an OpenID issuer's. Each goes there and comes back once."""

import logging
import os
from typing import Final

from litestar import Response, get

from api.call import call_of
from api.login.finish import AnyRequest, begin_again, finish, redirect, return_path, to_own_host, value_of
from api.services import Services
from api.sessions.browser import browser_binding
from api.sessions.pages import page
from api.weights import LOGIN, PAGES_RPM
from domain.flow.begin_login import begin_login, take_up_login
from domain.model.login import STATE_BYTES, ProvenIdentity, Provider, nonce_of, verifier_of
from domain.store.connection import transaction
from gateways.identity_provider import ProviderError

_logger: Final = logging.getLogger(__name__)

_NAMES: Final[dict[Provider, str]] = {"github": "GitHub", "oidc": "The OpenID provider"}
_OVER: Final = (
    "This sign-in is over, was finished already, or began in another browser. Begin again, and finish it here."
)
_TURNED_DOWN: Final = "access_denied"  # RFC 6749, 4.1.2.1


@get("/auth/github", include_in_schema=False, rate=PAGES_RPM)
async def to_github(request: AnyRequest, services: Services) -> Response[str]:
    """Send the browser to GitHub."""
    if services.github is None:
        return _not_here("github")
    return await _begin(request, services, "github")


@get("/auth/oidc", include_in_schema=False, rate=PAGES_RPM)
async def to_issuer(request: AnyRequest, services: Services) -> Response[str]:
    """Send the browser to the OpenID issuer."""
    if services.oidc is None:
        return _not_here("oidc")
    return await _begin(request, services, "oidc")


@get(["/auth/callback", "/auth/github/callback"], include_in_schema=False, rate=PAGES_RPM, weight=LOGIN)
async def from_github(request: AnyRequest, services: Services) -> Response[str]:
    """Take the browser back from GitHub."""
    if services.github is None:
        return _not_here("github")
    return await _come_back(request, services, "github")


@get("/auth/oidc/callback", include_in_schema=False, rate=PAGES_RPM, weight=LOGIN)
async def from_issuer(request: AnyRequest, services: Services) -> Response[str]:
    """Take the browser back from the OpenID issuer."""
    if services.oidc is None:
        return _not_here("oidc")
    return await _come_back(request, services, "oidc")


async def _begin(request: AnyRequest, services: Services, provider: Provider) -> Response[str]:
    own = to_own_host(request, services)
    if own is not None:
        return own
    binding, cookie = browser_binding(request)
    async with transaction(services.engine_pool) as connection:
        state = await begin_login(
            connection,
            provider=provider,
            binding=binding,
            return_to=return_path(request),
            now=services.now(),
            entropy=os.urandom(STATE_BYTES),
        )
    try:
        address = await _address(services, provider, state, binding)
    except ProviderError as error:
        return _trouble(request, provider, error)
    if cookie is not None:
        call_of(request.scope).answer_headers.append(cookie)
    return redirect(address)


async def _address(services: Services, provider: Provider, state: str, binding: bytes) -> str:
    verifier = verifier_of(state, binding)
    if provider == "github":
        assert services.github is not None, "looked at by the route"
        return await services.github.authorization_url(state=state, verifier=verifier)
    assert services.oidc is not None, "looked at by the route"
    return await services.oidc.authorization_url(state=state, verifier=verifier, nonce=nonce_of(state, binding))


async def _come_back(request: AnyRequest, services: Services, provider: Provider) -> Response[str]:
    """Use the login up first: whatever happens next, what is in this address never works again."""
    state, code = value_of(request, "state"), value_of(request, "code")
    binding, _ = browser_binding(request)
    async with transaction(services.engine_pool) as connection:
        return_to = await take_up_login(
            connection, provider=provider, binding=binding, state=state or "", now=services.now()
        )
    if code is None and value_of(request, "error") is not None:
        # Some say so without the state: nobody is signed in by it, and where it led is all that is lost.
        turned_down = value_of(request, "error") == _TURNED_DOWN
        why = "You turned it down there." if turned_down else f"{_NAMES[provider]} did not let you in."
        return begin_again("Not signed in", why, status=400, return_to=return_to)
    if state is None or code is None or return_to is None:
        return begin_again("Not signed in", _OVER, status=400)
    try:
        identity = await _identity(request, services, provider, state=state, code=code, binding=binding)
    except ProviderError as error:
        return _trouble(request, provider, error)
    return await finish(request, services, identity, return_to)


async def _identity(
    request: AnyRequest, services: Services, provider: Provider, *, state: str, code: str, binding: bytes
) -> ProvenIdentity:
    verifier = verifier_of(state, binding)
    if provider == "github":
        assert services.github is not None, "looked at by the route"
        return await services.github.identify(code=code, verifier=verifier)
    assert services.oidc is not None, "looked at by the route"
    issuer = value_of(request, "iss")
    return await services.oidc.identify(code=code, verifier=verifier, nonce=nonce_of(state, binding), issuer=issuer)


def _trouble(request: AnyRequest, provider: Provider, error: ProviderError) -> Response[str]:
    """Say that it did not work; what exactly stands in the log, because a caller could use it."""
    _logger.warning("login by %s: %s", provider, error)
    call_of(request.scope).error = "identity_provider"  # theirs: the log shows no error of ours
    why = f"{_NAMES[provider]} did not answer as it should. Try again in a minute, or sign in another way."
    return begin_again("Not signed in", why, status=502)


def _not_here(provider: Provider) -> Response[str]:
    names = "GITHUB_CLIENT_ID" if provider == "github" else "OIDC_ISSUER"
    why = f"This way to sign in is not set up. The operator sets <code>{names}</code> and its secret."
    return page("Not available", f'<p>{why}</p><p><a href="/login">Other ways</a></p>', status=404)


ROUTES: Final = [to_github, from_github, to_issuer, from_issuer]
