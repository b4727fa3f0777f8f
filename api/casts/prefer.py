"""The Prefer header (RFC 7240): how long a caller wants to wait."""

import re
from typing import Final

import msgspec

# Balancers and proxies give up on an answer after a minute or more.
WAIT_S_MAX: Final = 60
_PREFER_WAIT: Final = re.compile(rb"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])", re.IGNORECASE)
_PREFER_ASYNC: Final = re.compile(rb"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.IGNORECASE)


class Wish(msgspec.Struct, frozen=True):
    """How long the caller wants to wait, and the part of its Prefer header that is followed."""

    wait_s: int
    applied: bytes | None


def wish_of(prefer: bytes | None, wait_s_default: int) -> Wish:
    """Read a Prefer header (RFC 7240). `respond-async` wins, and what cannot be read is ignored, as the RFC asks."""
    if prefer is None:
        return Wish(wait_s_default, None)
    if _PREFER_ASYNC.search(prefer) is not None:
        return Wish(0, b"respond-async")
    if (wait := _PREFER_WAIT.search(prefer)) is not None:
        wait_s = min(int(wait[1]), WAIT_S_MAX)
        return Wish(wait_s, b"wait=%d" % wait_s)
    return Wish(wait_s_default, None)
