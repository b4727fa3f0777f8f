"""Who the audit log will say it was: made from the request once it is known who calls."""

from typing import Any

from litestar import Request

from api.auth import Principal
from api.call import call_of
from api.services import Services
from domain.model.audit import Actor, ActorKind


def provide_actor(request: Request[Any, Any, Any], services: Services, principal: Principal) -> Actor:
    """Return the key or session that changes something of its own account. Handlers ask for `actor: Actor`."""
    return _actor(request, services, principal, "session" if principal.key_id is None else "key")


def provide_admin(request: Request[Any, Any, Any], services: Services) -> Actor:
    """Return who changes something through /admin: the holder of the secret is nobody in particular.

    Behind `require_admin` alone, which runs before. Handlers ask for `admin: Actor`.
    """
    return _actor(request, services, call_of(request.scope).principal, "admin")


def _actor(request: Request[Any, Any, Any], services: Services, principal: Principal | None, kind: ActorKind) -> Actor:
    call = call_of(request.scope)
    return Actor(
        kind=kind,
        id=None if principal is None else principal.key_id or principal.session_id,
        user_id=None if principal is None else principal.user_id,
        address=services.proxies.client_address(request.scope["client"], call.headers),
        request_id=call.request_id,
    )
