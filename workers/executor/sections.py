"""Reads the outline of a WASM binary: its sections, what the manifest section holds, how large its tables begin."""

from collections.abc import Iterator
from typing import Final

import msgspec

MAGIC: Final = b"\0asm"
CORE_VERSION: Final = b"\1\0\0\0"
COMPONENT_VERSION: Final = b"\x0d\0\1\0"

_CUSTOM: Final = 0
_TABLE: Final = 4
# A LEB128 of 32 bits has at most five bytes.
_LEB_BYTES_MAX: Final = 5


class MalformedError(Exception):
    """The bytes end, or say something impossible; the message names the offset."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One section of a module."""

    kind: int
    offset: int
    body: bytes


class Reader:
    """Walks over bytes and raises MalformedError at their end."""

    def __init__(self, data: bytes, *, offset: int = 0, base: int = 0) -> None:
        """Begin at `offset`; `base` is where `data` lies in the module, for messages."""
        self._data: Final = data
        self._base: Final = base
        self.offset = offset

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.offset >= len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        piece = self._data[self.offset : self.offset + count]
        if len(piece) < count:
            message = f"the module ends in the middle, at byte {self._base + len(self._data)}: was it cut off?"
            raise MalformedError(message)
        self.offset += count
        return piece

    def number(self) -> int:
        """Return the next unsigned LEB128."""
        value = 0
        for index in range(_LEB_BYTES_MAX):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 # the continuation bit of LEB128
                return value
        message = f"a number at byte {self._base + self.offset} has no end"
        raise MalformedError(message)

    def text(self) -> str:
        """Return the next name."""
        return self.take(self.number()).decode("utf-8", "replace")


def sections(module: bytes) -> Iterator[Section]:
    """Yield the sections of a core module, whose first eight bytes the caller has checked."""
    reader = Reader(module, offset=len(MAGIC) + len(CORE_VERSION))
    while not reader.at_end:
        kind = reader.take(1)[0]
        length = reader.number()
        offset = reader.offset
        yield Section(kind=kind, offset=offset, body=reader.take(length))


def custom_sections(module: bytes, name: str) -> list[bytes]:
    """Return the content of every custom section of that name."""
    found: list[bytes] = []
    for section in sections(module):
        if section.kind != _CUSTOM:
            continue
        reader = Reader(section.body, base=section.offset)
        if reader.text() == name:
            found.append(section.body[reader.offset :])
    return found


def table_minimums(module: bytes) -> list[int]:
    """Return how many elements each table begins with. Only for a module that the engine has validated.

    Table types with initial values and typed references belong to proposals that are off, so a type is one byte.
    """
    minimums: list[int] = []
    for section in sections(module):
        if section.kind != _TABLE:
            continue
        reader = Reader(section.body, base=section.offset)
        for _ in range(reader.number()):
            reader.take(1)
            has_maximum = reader.take(1)[0] & 1
            minimums.append(reader.number())
            if has_maximum:
                reader.number()
    return minimums
