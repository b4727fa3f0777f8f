"""The cookies of a browser: the session, and a name of the browser itself for as long as a login takes.

Neither is readable by scripts, and other sites' pages send neither along with what changes anything (SameSite=Lax).
Behind https they carry the prefix `__Host-`: then no other host, sub-domains included, can have set them.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from api.errors import Headers
from domain.model.session import SESSION_DAYS_MAX, OpenedSession, is_token

_SESSION: Final = "spell_session"
_SECURE_PREFIX: Final = "__Host-"
_SESSION_S: Final = int(timedelta(days=SESSION_DAYS_MAX).total_seconds())


def is_secure(public_url: str) -> bool:
    """Tell whether browsers reach this platform over https, by PUBLIC_URL."""
    return public_url.startswith("https://")


def cookie_name(name: str, *, secure: bool) -> str:
    """Return how a cookie is called here; behind https nothing else is listened to."""
    return f"{_SECURE_PREFIX}{name}" if secure else name


def set_cookie(name: str, value: str, *, age_s: int, secure: bool) -> tuple[bytes, bytes]:
    """Return the header that keeps `value` in the browser for `age_s` seconds; 0 removes it."""
    flags = "; Secure" if secure else ""
    text = f"{cookie_name(name, secure=secure)}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{flags}"
    return b"set-cookie", text.encode("ascii")


def set_session_cookie(response_headers: Headers, opened: OpenedSession, *, secure: bool) -> None:
    """Give the browser a session. `response_headers` may be `call.answer_headers`."""
    response_headers.append(set_cookie(_SESSION, opened.token, age_s=_SESSION_S, secure=secure))


def clear_session_cookie(response_headers: Headers, *, secure: bool) -> None:
    """Take the session from the browser; ending it is another matter."""
    response_headers.append(set_cookie(_SESSION, "", age_s=0, secure=secure))


def session_token_of(headers: Mapping[bytes, bytes], *, secure: bool) -> str | None:
    """Return the token in the session's cookie; None without one, or when it is no token."""
    token = read_cookie(headers, _SESSION, secure=secure)
    return token if token is not None and is_token(token) else None


def read_cookie(headers: Mapping[bytes, bytes], name: str, *, secure: bool) -> str | None:
    """Return the value of a cookie; None without one, or with two of that name: one of them was slipped in."""
    wanted = cookie_name(name, secure=secure)
    pairs = (part.strip().partition("=") for part in headers.get(b"cookie", b"").decode("latin-1").split(";"))
    values = {value for found, _, value in pairs if found == wanted}
    return values.pop() if len(values) == 1 else None
