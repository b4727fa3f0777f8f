"""A name of the browser itself: what begins a login in one browser cannot be finished in another."""

import base64
import binascii
import os
from typing import Any, Final

from litestar import Request

from api.call import call_of
from api.services import Services
from api.sessions.cookies import is_secure, read_cookie, set_cookie

_BROWSER: Final = "spell_browser"
_BINDING_BYTES: Final = 32
# Longer than any login takes: a mailed link is good for a quarter of that.
_BINDING_S: Final = 3_600


def browser_binding(request: Request[Any, Any, Any]) -> tuple[bytes, tuple[bytes, bytes] | None]:
    """Return 32 random bytes that this browser keeps for an hour, and the header that gives them when they are new.

    Store their SHA-256 with what the browser begins, and compare it when it is finished. Add the header to
    `call.answer_headers`.
    """
    services: Services = request.app.state.services
    secure = is_secure(services.settings.public_url)
    known = _binding_of(read_cookie(call_of(request.scope).headers, _BROWSER, secure=secure))
    if known is not None:
        return known, None
    binding = os.urandom(_BINDING_BYTES)
    text = base64.urlsafe_b64encode(binding).rstrip(b"=").decode("ascii")
    return binding, set_cookie(_BROWSER, text, age_s=_BINDING_S, secure=secure)


def _binding_of(text: str | None) -> bytes | None:
    try:
        binding = b"" if text is None else base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return binding if len(binding) == _BINDING_BYTES else None
