"""Whose request is it: the address behind the proxies we run, and no address a caller merely claims."""

import ipaddress
from collections.abc import Sequence

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """The networks whose X-Forwarded-For is believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def client_address(self, client: tuple[str, int] | None, headers: dict[bytes, bytes]) -> str:
        """Return the last address of X-Forwarded-For that no trusted proxy added, or that of the connection.

        An IPv6 caller is its /64, because that is what one household or machine is given.
        """
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
        hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
        address = _parsed("" if client is None else client[0])
        while hops and address is not None and self._trusts(address):
            claimed = _parsed(hops.pop())
            if claimed is None:
                break
            address = claimed
        if address is None:
            return "unknown"
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
        return str(address)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _parsed(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
