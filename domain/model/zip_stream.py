"""A zip file that is written from front to back in pieces, each by another process if need be.

Nothing is sought: a member's sizes stand behind it (a data descriptor). Compressed data of a member may be continued by
somebody who knows nothing of what was compressed before: a piece ends at a byte's border with a block that is not the
last (zlib's sync flush), and only the last one ends the stream.
Formats: PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5.3 (Zip64); RFC 1951.
"""

import struct
import zlib
from datetime import datetime
from typing import Final

import msgspec

VERSION: Final = 20
VERSION_ZIP64: Final = 45
# Bit 3: sizes come behind the data. Bit 11: names are UTF-8.
FLAGS: Final = 1 << 3 | 1 << 11
DEFLATED: Final = 8
# What stands in the place of a number that does not fit: the true one is in the Zip64 record.
FULL_32: Final = 0xFFFF_FFFF
FULL_16: Final = 0xFFFF
# Far from the 4 GiB which a member without Zip64 sizes may have, so that every program reads each member.
MEMBER_BYTES_MAX: Final = 1 << 30
_FIRST_YEAR: Final = 1980
# Deflate alone, without zlib's own head and sum.
_RAW: Final = -zlib.MAX_WBITS


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the archive, as far as it is written."""

    name: str
    offset: int
    """Where its header begins."""
    crc: int = 0
    size_bytes: int = 0
    compressed_bytes: int = 0


class ZipState(msgspec.Struct, frozen=True, kw_only=True):
    """All that whoever goes on needs to know."""

    members: tuple[Member, ...] = ()
    """Those that are done."""
    member: Member | None = None
    """The one that is being written."""
    offset: int = 0
    """How many bytes there are."""


class ZipWriter:
    """Writes one piece: goes on where `state` says, then `take` returns the piece's bytes and the state after it."""

    def __init__(self, state: ZipState, *, modified: datetime) -> None:
        self._members: Final = list(state.members)
        self._member = state.member
        self._offset = state.offset
        self._parts: Final[list[bytes]] = []
        self._modified: Final = struct.pack("<HH", *_dos_time(modified))
        self._deflate = zlib.compressobj(wbits=_RAW)

    @property
    def member(self) -> Member | None:
        """The file that is being written; its sizes are those of the last piece."""
        return self._member

    @property
    def member_bytes(self) -> int:
        """How many bytes were written into it, before compression."""
        return 0 if self._member is None else self._member.size_bytes

    def begin(self, name: str) -> None:
        """Begin a file. `name` is a relative path of ASCII, and not in the archive yet."""
        assert self._member is None, "end the file before"
        assert all(member.name != name for member in self._members), name
        self._member = Member(name=name, offset=self._offset)
        head = struct.pack("<4sHHH", b"PK\x03\x04", VERSION, FLAGS, DEFLATED)
        sizes = struct.pack("<IIIHH", 0, 0, 0, len(name), 0)
        self._put(head + self._modified + sizes + name.encode("ascii"))
        self._deflate = zlib.compressobj(wbits=_RAW)

    def write(self, data: bytes) -> None:
        """Add to the file that is being written."""
        assert self._member is not None, "begin a file first"
        self._member = msgspec.structs.replace(
            self._member,
            crc=zlib.crc32(data, self._member.crc),
            size_bytes=self._member.size_bytes + len(data),
        )
        assert self._member.size_bytes < FULL_32, "begin another file at MEMBER_BYTES_MAX"
        self._put_data(self._deflate.compress(data))

    def end(self) -> None:
        """End the file that is being written."""
        self._put_data(self._deflate.flush(zlib.Z_FINISH))
        member = self._member
        assert member is not None, "begin a file first"
        self._put(struct.pack("<4sIII", b"PK\x07\x08", member.crc, member.compressed_bytes, member.size_bytes))
        self._members.append(member)
        self._member = None

    def finish(self) -> None:
        """Write the directory, with which the archive is whole."""
        assert self._member is None, "end the last file first"
        begins = self._offset
        for member in self._members:
            self._put(self._entry(member))
        self._put(_end(len(self._members), begins, self._offset))

    def take(self) -> tuple[bytes, ZipState]:
        """Return what was written since the beginning, and where the next piece goes on. The writer is used up."""
        if self._member is not None:
            self._put_data(self._deflate.flush(zlib.Z_SYNC_FLUSH))
        state = ZipState(members=tuple(self._members), member=self._member, offset=self._offset)
        return b"".join(self._parts), state

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self._offset += len(data)

    def _put_data(self, data: bytes) -> None:
        assert self._member is not None, "begin a file first"
        self._member = msgspec.structs.replace(self._member, compressed_bytes=self._member.compressed_bytes + len(data))
        self._put(data)

    def _entry(self, member: Member) -> bytes:
        far = member.offset >= FULL_32
        version = VERSION_ZIP64 if far else VERSION
        extra = struct.pack("<HHQ", 1, 8, member.offset) if far else b""
        head = struct.pack("<4sHHHH", b"PK\x01\x02", version, version, FLAGS, DEFLATED)
        sizes = struct.pack(
            "<IIIHH", member.crc, member.compressed_bytes, member.size_bytes, len(member.name), len(extra)
        )
        place = struct.pack("<HHHII", 0, 0, 0, 0, FULL_32 if far else member.offset)
        return head + self._modified + sizes + place + member.name.encode("ascii") + extra


def _end(members: int, begins: int, ends: int) -> bytes:
    size = ends - begins
    number, offset = min(members, FULL_16), min(begins, FULL_32)
    whole = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, number, number, min(size, FULL_32), offset, 0)
    if number < FULL_16 and offset < FULL_32:
        return whole
    # 44: what follows the size in this record.
    versions = struct.pack("<QHHII", 44, VERSION_ZIP64, VERSION_ZIP64, 0, 0)
    record = b"PK\x06\x06" + versions + struct.pack("<QQQQ", members, members, size, begins)
    return record + struct.pack("<4sIQI", b"PK\x06\x07", 0, ends, 1) + whole


def _dos_time(instant: datetime) -> tuple[int, int]:
    """Return time and date as MS-DOS wrote them: two seconds at a time, from 1980 on."""
    assert instant.year >= _FIRST_YEAR
    time = instant.hour << 11 | instant.minute << 5 | instant.second // 2
    return time, (instant.year - _FIRST_YEAR) << 9 | instant.month << 5 | instant.day
