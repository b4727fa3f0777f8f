"""What keeps other sites' pages away from a person's session, and our pages from what is not ours.

Cookies are sent by browsers whoever made the request, so what a cookie identifies may change something only when the
browser says that a page of ours asked (see docs/decisions). Bearer tokens are sent by nobody unasked.
"""

import re
from typing import Final
from urllib.parse import unquote

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
