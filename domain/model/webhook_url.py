"""Where a webhook may go, as far as its address alone tells. Pure.

A name is judged again by the courier, after it was resolved and for each attempt: what is checked here is a kindness
to the caller, who hears of a mistake at once.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

URL_CHARACTERS_MAX: Final = 2048
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What a URL is made of (RFC 3986), so no space, no control character and nothing that readers decode in two ways.
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A host that ends in a number is an IPv4 address to many resolvers, in octal, hexadecimal or with fewer parts too.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAME_CHARACTERS_MAX: Final = 253
# Names that never leave a machine or its network.
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "localdomain", "home.arpa")
# What Python 3.11 takes for public, or what ends somewhere else than it looks: protocol assignments, relays to 6to4,
# documentation, NAT64, 6to4 and Teredo. No receiver has such an address.
_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "3fff::/20",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
    )
)
# Where services other than the web's live, many of them trusting whoever connects, which port means something.
_PRIVILEGED_PORTS: Final = range(1, 1024)
_WEB_PORTS: Final = frozenset({80, 443})


def is_public(address: Address) -> bool:
    """Tell whether `address` is one the whole internet can reach, also after what an IPv6 address hides in itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.is_site_local:
            return False
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_allowed(address: Address, private_allowed: Iterable[Network]) -> bool:
    """Tell whether a webhook may go to `address`: it is public, or in a network the operator allows."""
    if any(address.version == network.version and address in network for network in private_allowed):
        return True
    return is_public(address)


def url_fault(url: str, *, private_allowed: tuple[Network, ...] = ()) -> str | None:
    """Return what is wrong with `url` as a receiver of webhooks, as the end of a sentence, or None.

    `https`, and `http` only for what `private_allowed` may mean: an address in it, or a name that the courier will
    find there.
    """
    if not 0 < len(url) <= URL_CHARACTERS_MAX:
        return f"it must have 1 to {URL_CHARACTERS_MAX} characters"
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        return "it is not a URL"
    faults = {
        "it has characters that no URL has; encode them": _CHARACTERS.fullmatch(url) is None,
        "it must begin with https://": parts.scheme not in {"https", "http"},
        "it must not hold a user name or password; check the signature instead": "@" in parts.netloc,
        "it must not have a fragment (#…), which is never sent": "#" in url,
        "its port must not be 0": port == 0,
        "its port must be 443, or 1024 and above": port in _PRIVILEGED_PORTS and port not in _WEB_PORTS,
    }
    fault = next((text for text, found in faults.items() if found), None)
    return fault or _host_fault(host, secure=parts.scheme == "https", private_allowed=private_allowed)


def _host_fault(host: str, *, secure: bool, private_allowed: tuple[Network, ...]) -> str | None:
    try:
        address = ip_address(host)
    except ValueError:
        return _name_fault(host, secure=secure, some_private_allowed=bool(private_allowed))
    if not is_allowed(address, private_allowed):
        return "its address is not one of the public internet"
    if not secure and is_allowed(address, ()):
        return "it must begin with https://"
    return None


def _name_fault(host: str, *, secure: bool, some_private_allowed: bool) -> str | None:
    labels = host.removesuffix(".").split(".")
    if len(host) > _NAME_CHARACTERS_MAX or any(_LABEL.fullmatch(label) is None for label in labels):
        return "it has no valid host name"
    if _NUMBER.fullmatch(labels[-1]):
        return "its host is not an IPv4 address in its usual form"
    if some_private_allowed:
        return None
    if len(labels) == 1 or any(host.removesuffix(".").endswith(f".{name}") for name in _LOCAL_NAMES):
        return "its host is a name of a private network"
    return None if secure else "it must begin with https://"


@lru_cache(maxsize=8)
def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks a setting names; it was checked when it was read. Remembered: there is one such setting."""
    return tuple(ip_network(text) for text in texts)
