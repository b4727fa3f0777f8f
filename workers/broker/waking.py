"""What the ledger says to those who wait for casts: which became final, and of one that came alone its row as well.

A message begins with 16-byte ids, one after another. Behind them may follow an id no cast has, and the sealed row of
the first: who does not know of rows looks that id up in vain. Pure; `workers.keys.wake_channel` is where it is said.
"""

import hmac
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import msgspec

from domain.model.cast_view import CastRow

CAST_ID_BYTES: Final = 16
_NO_CAST: Final = bytes(CAST_ID_BYTES)
_SEAL_BYTES: Final = 32
_ROW_AT: Final = 2 * CAST_ID_BYTES + _SEAL_BYTES
# No token of a cast is made of a text that begins so.
_SEALED: Final = b"final\0"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(CastRow).decode


def wake_message(cast_ids: Iterable[UUID], row: CastRow | None, *, key: bytes) -> bytes:
    """Return what is said of casts that are final; `row` is the only one of them, where it is to be said as well.

    `key` is what api and ledger share and no worker has.
    """
    ids = b"".join([cast_id.bytes for cast_id in cast_ids])
    if row is None:
        return ids
    assert ids == row.id.bytes, "the row is of the one cast there is"
    body = _encode(row)
    return b"".join((ids, _NO_CAST, _seal(body, key), body))


def row_in(message: bytes, *, key: bytes) -> CastRow | None:
    """Return the row in a message; None when there is none, or not one that a ledger has sealed."""
    if message[CAST_ID_BYTES : 2 * CAST_ID_BYTES] != _NO_CAST:
        return None
    body = message[_ROW_AT:]
    if not hmac.compare_digest(message[2 * CAST_ID_BYTES : _ROW_AT], _seal(body, key)):
        return None
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # of another version
        return None


def _seal(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _SEALED + body, "sha256")
