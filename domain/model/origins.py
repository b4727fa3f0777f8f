"""Origins of web pages (RFC 6454), as browsers write them in the header `Origin`: scheme, host and port, nothing else.

They are compared as text, so only the one form a browser sends is taken: lower case, an international name in its
ASCII form, no port that is the scheme's own.
"""

import ipaddress
import re
from typing import Final

# A name has 253 characters at most; the rest is for scheme and port.
ORIGIN_CHARACTERS_MAX: Final = 270
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN: Final = re.compile(rf"(https?)://({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::([1-9][0-9]{{0,4}}))?")
_PORT_MAX: Final = 65_535
_OWN_PORT: Final = {"http": 80, "https": 443}


def is_origin(text: str) -> bool:
    """Tell whether a browser could send exactly `text` as the origin of a page."""
    match = _ORIGIN.fullmatch(text) if len(text) <= ORIGIN_CHARACTERS_MAX else None
    if match is None:
        return False
    scheme, host, port = match.groups()
    if host.startswith("[") and not _is_ipv6(host[1:-1]):
        return False
    return port is None or (int(port) <= _PORT_MAX and int(port) != _OWN_PORT[scheme])


def _is_ipv6(text: str) -> bool:
    try:
        return str(ipaddress.IPv6Address(text)) == text
    except ValueError:
        return False
