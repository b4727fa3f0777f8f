"""Usage events of one flush share stream entries: an entry costs Redis, its writer and its reader more than an event.

Each event keeps its own bytes inside, so what is wrong with one leaves its neighbours as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from domain.model.limits import KIB
from workers.broker.link import Command

# Beyond this the entry itself costs next to nothing, and a reader that asks for entries still knows what it may get.
EVENTS_MAX: Final = 64
BYTES_MAX: Final = 32 * KIB

_LONE: Final = "e"
_SEVERAL: Final = "es"
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[bytes]).decode


def bundled(stream: str, events: Sequence[bytes]) -> list[Command]:
    """Return what adds these events to the stream in their order, in as few entries as the bounds allow."""
    commands: list[Command] = []
    together: list[bytes] = []
    size_bytes = 0
    for event in events:
        size_bytes += len(event)
        if together and (size_bytes > BYTES_MAX or len(together) == EVENTS_MAX):
            commands.append(_entry(stream, together))
            together, size_bytes = [], len(event)
        together.append(event)
    if together:
        commands.append(_entry(stream, together))
    return commands


def unbundled(fields: Mapping[bytes, bytes]) -> list[bytes]:
    """Return the events of an entry, at least one: what is no bundle is one event, for its reader to make sense of."""
    several = fields.get(_SEVERAL.encode())
    if several is None:
        return [fields.get(_LONE.encode(), b"")]
    try:
        return _decode(several) or [several]
    except msgspec.DecodeError:
        return [several]


def _entry(stream: str, events: list[bytes]) -> Command:
    if len(events) == 1:
        return ("XADD", stream, "*", _LONE, events[0])
    return ("XADD", stream, "*", _SEVERAL, _encode(events))
