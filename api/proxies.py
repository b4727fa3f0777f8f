"""Whose request is it: the address behind the proxies we run, and no address a caller merely claims."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# As some proxies write whom they speak for: with the port, an IPv6 address then in brackets.
_WITH_PORT: Final = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?")
# Longer chains are nobody's; what stands further left was not written by proxies of ours.
HOPS_MAX: Final = 20
_PREFIX_BITS: Final = 64


class Proxies:
    """The networks whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def client_address(self, client: tuple[str, int] | None, headers: dict[bytes, bytes]) -> str:
        """Return the last address of X-Forwarded-For that no trusted proxy added, or that of the connection.

        An IPv6 caller is its /64, because that is what one household or machine is given; an IPv4 address within IPv6
        is that IPv4 address. One caller has one name, however its address is spelled.
        """
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        hops = [hop.strip() for hop in forwarded.rsplit(",", HOPS_MAX)[-HOPS_MAX:]]
        address = _parsed("" if client is None else client[0])
        while hops and address is not None and self._trusts(address):
            claimed = _parsed(hops.pop())
            if claimed is None:
                break
            address = claimed
        if address is None:
            return "unknown"
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((int(address), _PREFIX_BITS), strict=False).network_address)
        return str(address)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _parsed(text: str) -> _Address | None:
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address(text if with_port is None else with_port[1] or with_port[2])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
