"""Host names to addresses without a thread each: a name server that never answers holds up nobody else.

The C library's resolver blocks a thread for ten seconds and more, and a handful of slow names would fill the pool.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from socket import AF_UNSPEC, SOCK_STREAM
from types import TracebackType
from typing import Final, Self, cast

import aiodns
import pycares
from aiodns.error import DNSError

from domain.model.webhook_url import Address

# Two questions of two seconds fit into what a whole delivery may take.
TIMEOUT_S: Final = 2.0
TRIES: Final = 2
# No search list: a receiver's name must not turn into one of this network.
_NO_SEARCH: Final = cast("int", pycares.ARES_FLAG_NOSEARCH)  # pyright: ignore[reportUnknownMemberType] untyped there


class UnknownNameError(Exception):
    """The name has no address, or nobody who knows it answered in time."""


class Names:
    """Asks the name servers of this machine (and its hosts file). Use as an async context."""

    def __init__(self) -> None:
        self._resolver: aiodns.DNSResolver | None = None

    async def __aenter__(self) -> Self:
        self._resolver = aiodns.DNSResolver(timeout=TIMEOUT_S, tries=TRIES, flags=_NO_SEARCH)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._resolver is not None:
            await self._resolver.close()

    async def resolve(self, host: str) -> Sequence[Address]:
        """Return every address of `host`, the one to try first first. Raises UnknownNameError."""
        assert self._resolver is not None, "names are asked for inside the context"
        try:
            found = await self._resolver.getaddrinfo(host, family=AF_UNSPEC, type=SOCK_STREAM)
        except DNSError as error:
            raise UnknownNameError(str(error.args[-1])) from error
        places = cast("list[tuple[bytes, int]]", [node.addr for node in found.nodes])  # pyright: ignore[reportUnknownMemberType] untyped there
        return [ip_address(place[0].decode("ascii")) for place in places]
