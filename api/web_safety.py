"""What keeps other sites' pages away from a person's session, and our pages from what is not ours.

Cookies are sent by browsers whoever made the request, so what a cookie identifies may change something only when the
browser says that a page of ours asked (docs/decisions/0015). Bearer tokens are sent by nobody unasked.
"""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from api.call import Call
from api.errors import Headers
from api.sessions.cookies import is_secure
from domain.model.errors import Code, refuse

# By RFC 9110 these change nothing, and no route of ours makes them.
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Names of one machine, which are the same platform on the same port: a person types one, PUBLIC_URL says another.
_THIS_MACHINE: Final = ("127.0.0.1", "localhost", "[::1]")
# A year, as browsers ask of a promise they keep. Sub-domains may be somebody else's.
_HTTPS_ONLY: Final = b"max-age=31536000"

_NOTHING: Final = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action "
# What is no page loads nothing, whatever a caller's text in it looks like.
API_POLICY: Final = f"{_NOTHING}'none'"
# A page of ours: its style, its pictures, forms that come back here. No script at all.
PAGE_POLICY: Final = f"{_NOTHING}'self'; style-src 'self'; img-src 'self'"
# The renderer of /docs is a script of ours that asks our own routes. It writes its style into the page, so that style
# alone may stand inline there; no script may, and nothing is loaded from another host.
DOCS_POLICY: Final = (
    f"{_NOTHING}'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
_STANDING: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", API_POLICY.encode("ascii")),
    # Not `no-referrer`: browsers then say `Origin: null` in our own forms (Fetch, "append a request Origin header").
    (b"referrer-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


def standing_headers(public_url: str) -> Headers:
    """Return the headers of every answer that does not set them itself."""
    return [*_STANDING, (b"strict-transport-security", _HTTPS_ONLY)] if is_secure(public_url) else _STANDING


class Site:
    """The platform as browsers know it: its origin, and whether they reach it over https."""

    def __init__(self, public_url: str) -> None:
        self.secure: Final = is_secure(public_url)
        self._origins: Final = _origins_of(public_url)

    def check(self, call: Call) -> None:
        """Raise RefusedError (403) unless the request changes nothing, or a page of ours made it.

        Browsers say so in Origin and in Sec-Fetch-Site, which no page can write. Each that is there must be right, and
        one must be; a Referer proves nothing, because it may be left out.
        """
        if call.method in SAFE_METHODS:
            return
        origin, fetched_from = call.headers.get(b"origin"), call.headers.get(b"sec-fetch-site")
        ours = origin is None or origin in self._origins
        same = fetched_from is None or fetched_from == b"same-origin"
        if not (ours and same) or (origin is None and fetched_from is None):
            detail = "Only the platform's own pages may do this with a session's cookie. Programs send a Bearer token."
            raise refuse(Code.FORBIDDEN, detail)


def _origins_of(public_url: str) -> frozenset[bytes]:
    """Return what a browser calls our own pages in Origin."""
    url = urlsplit(public_url)
    default_port = 443 if url.scheme == "https" else 80
    port = "" if url.port in {None, default_port} else f":{url.port}"
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    hosts = _THIS_MACHINE if host in _THIS_MACHINE else (host,)
    return frozenset(f"{url.scheme}://{name}{port}".encode("ascii") for name in hosts)


# Where to go after a login when nothing better is known.
RETURN_PATH_DEFAULT: Final = "/"
RETURN_PATH_CHARACTERS_MAX: Final = 500
# One slash, then visible ASCII without a backslash, which browsers read as a slash.
_LOCAL_PATH: Final = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
# What the same may say behind its percent signs: anything that is no other host and ends no line.
_DECODED_PATH: Final = re.compile(r"/(?![/\\])[^\x00-\x1f\x7f\\]*")
_DECODED_MAX: Final = 3


def safe_return_path(text: str | None, default: str = RETURN_PATH_DEFAULT) -> str:
    r"""Return `text` when it is a path of this host and nothing else, otherwise `default`.

    Whatever a browser could read as another host is refused: `//host`, `/\host`, a scheme, control characters, and
    the same in percent signs, which something behind may decode.
    """
    if text is None or len(text) > RETURN_PATH_CHARACTERS_MAX or _LOCAL_PATH.fullmatch(text) is None:
        return default
    decoded = text
    for _ in range(_DECODED_MAX):
        further = unquote(decoded)
        if further == decoded:
            return text
        if _DECODED_PATH.fullmatch(further) is None:
            return default
        decoded = further
    return default
