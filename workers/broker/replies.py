"""Typed readings of raw Redis replies: servers 6.2 to 8, RESP2 and RESP3, differ here and nowhere else."""

from collections.abc import Sequence
from typing import cast

import msgspec

from workers.broker.link import Reply


class StreamEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of a stream; `fields` is None when the entry was deleted while it was pending."""

    entry_id: bytes
    fields: dict[bytes, bytes] | None


class PendingEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One row of XPENDING: who holds the entry and how often it was delivered so far."""

    entry_id: bytes
    consumer: bytes
    deliveries: int


def entries(reply: Reply) -> list[StreamEntry]:
    """Read a list of entries, as XCLAIM and XAUTOCLAIM give it; 6.2 puts a nil in place of a deleted entry."""
    rows = cast("Sequence[tuple[bytes, list[bytes] | dict[bytes, bytes] | None] | None]", reply or ())
    return [StreamEntry(entry_id=row[0], fields=_fields(row[1])) for row in rows if row is not None]


def read_entries(reply: Reply) -> list[StreamEntry]:
    """Read XREADGROUP of one stream: a map under RESP3, a list of pairs under RESP2, nil when nothing came."""
    if not reply:
        return []
    if isinstance(reply, dict):
        return entries(next(iter(reply.values())))
    return entries(cast("list[list[Reply]]", reply)[0][1])


def pending(reply: Reply) -> list[PendingEntry]:
    """Read the long form of XPENDING."""
    rows = cast("Sequence[tuple[bytes, bytes, int, int]]", reply or ())
    return [PendingEntry(entry_id=row[0], consumer=row[1], deliveries=row[3]) for row in rows]


def byte_list(reply: Reply) -> list[bytes]:
    """Read a list of byte strings."""
    return cast("list[bytes]", reply or [])


def integers(reply: Reply) -> list[int]:
    """Read a list of integers."""
    return cast("list[int]", reply or [])


def integer(reply: Reply) -> int:
    """Read one integer, also when it comes as text; nil is 0."""
    if reply is None:
        return 0
    return int(cast("bytes | int", reply))


def memory(reply: Reply) -> tuple[int, int]:
    """Read used memory and its maximum (0: none is set), in bytes, from INFO memory."""
    text = reply if isinstance(reply, bytes) else str(reply).encode()
    values = dict(line.split(b":", 1) for line in text.splitlines() if b":" in line)
    return int(values[b"used_memory"]), int(values[b"maxmemory"])


def _fields(raw: list[bytes] | dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    if raw is None or isinstance(raw, dict):
        return raw
    if len(raw) == 2:  # noqa: PLR2004  one name, one value: what every entry but a given-back suspect has
        return {raw[0]: raw[1]}
    return dict(zip(raw[::2], raw[1::2], strict=True))
