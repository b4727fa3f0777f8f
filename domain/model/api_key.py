"""The text of an API key: `sk_live_<8-char id>_<32 random><6 checksum>`, all base62 (0-9A-Za-z).

A test key begins with `sk_test_` instead. The id is public and names the row; the 32 characters are the secret (190
bits); the checksum is the CRC32 of all before it, so that a scanner or a typo is told from a key without asking the
database.
"""

import re
import zlib
from typing import Final

import msgspec

from domain.model.modes import Mode

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TEST_PREFIX: Final = "sk_test_"
_KIND_OF: Final = {Mode.LIVE: "sk_live_", Mode.TEST: TEST_PREFIX}
_KIND_CHARACTERS: Final = 8
_KINDS: Final = tuple(_KIND_OF.values())
_KIND: Final = f"(?:{'|'.join(_KINDS)})"
_ID_CHARACTERS: Final = 8
_SECRET_CHARACTERS: Final = 32
_CHECKSUM_CHARACTERS: Final = 6  # 62^6 is just above 2^32
_PREFIX_CHARACTERS: Final = _KIND_CHARACTERS + _ID_CHARACTERS
_PREFIX: Final = re.compile(rf"{_KIND}[0-9A-Za-z]{{{_ID_CHARACTERS}}}")
_KEY_CHARACTERS: Final = _PREFIX_CHARACTERS + 1 + _SECRET_CHARACTERS + _CHECKSUM_CHARACTERS
# Looked for at every place, because two may overlap where text was glued together.
_CANDIDATE: Final = re.compile(
    rf"(?=({_KIND}[0-9A-Za-z]{{{_ID_CHARACTERS}}}_[0-9A-Za-z]{{{_SECRET_CHARACTERS + _CHECKSUM_CHARACTERS}}}))"
)
# Reducing this many more bits than a part has modulo 62^n leaves a bias below 2^-64.
_SPARE_BYTES: Final = 8
_ID_ENTROPY_BYTES: Final = 6 + _SPARE_BYTES
_SECRET_ENTROPY_BYTES: Final = 24 + _SPARE_BYTES
ENTROPY_BYTES: Final = _ID_ENTROPY_BYTES + _SECRET_ENTROPY_BYTES


class MintedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key. `text` is shown to its owner once and kept nowhere."""

    prefix: str
    text: str

    def __repr__(self) -> str:
        """Show the public part alone: a repr ends up in logs."""
        return f"MintedKey(prefix={self.prefix!r})"


def mint(entropy: bytes, mode: Mode = Mode.LIVE) -> MintedKey:
    """Return the key that `entropy`, ENTROPY_BYTES random bytes, stands for."""
    assert len(entropy) == ENTROPY_BYTES
    prefix = _KIND_OF[mode] + _base62(entropy[:_ID_ENTROPY_BYTES], _ID_CHARACTERS)
    secret = _base62(entropy[_ID_ENTROPY_BYTES:], _SECRET_CHARACTERS)
    body = f"{prefix}_{secret}"
    return MintedKey(prefix=prefix, text=body + _checksum(body))


def prefix_of(text: str) -> str | None:
    """Return the prefix of a well-formed key, or None: its form or its checksum is wrong, so no row can match."""
    if len(text) != _KEY_CHARACTERS or text[_PREFIX_CHARACTERS] != "_":
        return None
    if not text.startswith(_KINDS):
        return None
    body, checksum = text[:-_CHECKSUM_CHARACTERS], text[-_CHECKSUM_CHARACTERS:]
    if not body.isascii() or _checksum(body) != checksum:
        return None
    return text[:_PREFIX_CHARACTERS]


def find_keys(text: str) -> list[str]:
    """Return every well-formed key that stands in `text`, whatever surrounds it, each once and in order.

    Almost nothing else has the form and the checksum of a key (one in 2^32 of what has the form), so that a file of
    any size, a log or a diff, leaves a handful to be verified.
    """
    found = (match[1] for match in _CANDIDATE.finditer(text))
    return list(dict.fromkeys(key for key in found if prefix_of(key) is not None))


def mode_of(prefix: str) -> Mode:
    """Return what a key of this prefix is for."""
    return Mode.TEST if prefix.startswith(TEST_PREFIX) else Mode.LIVE


def is_prefix(text: str) -> bool:
    """Tell whether `text` has the form of a key's public part."""
    return _PREFIX.fullmatch(text) is not None


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")).to_bytes(4, "big"), _CHECKSUM_CHARACTERS)


def _base62(raw: bytes, characters: int) -> str:
    number = int.from_bytes(raw, "big")
    digits: list[str] = []
    for _ in range(characters):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
