"""The guest's linear memory as host functions see it: every access is checked against its present size."""

import struct
from collections.abc import Callable
from typing import Final

_U32: Final = struct.Struct("<I")
_IOVEC: Final = struct.Struct("<II")
IOVEC_BYTES: Final = _IOVEC.size
_pack_u32: Final = _U32.pack_into
_unpack_iovec: Final = _IOVEC.unpack_from


class GuestFault(Exception):  # noqa: N818 # not an error of ours: the guest passed a pointer outside of its memory
    """The call answers EFAULT."""


class GuestMemory:
    """Reads and writes below the present end of the memory, and raises GuestFault beyond it.

    A 32-bit memory is reserved whole, so it never moves, and it never shrinks: the view made at the first host call
    stays good, and only an access beyond it asks whether the memory has grown since.
    """

    def __init__(self) -> None:
        """Begin with nothing: a module without a reachable memory can pass no valid pointer."""
        self._renew: Callable[[], memoryview] | None = None
        self._view = memoryview(b"")
        self._size = 0
        self.attached = False
        """Whether `attach` was called since the last `detach`."""

    def attach(self, renew: Callable[[], memoryview]) -> None:
        """Take the function that returns a view of the whole memory at its present size."""
        self._renew = renew
        self._view = renew()
        self._size = len(self._view)
        self.attached = True

    def detach(self) -> None:
        """Forget the memory; call it before its store is thrown away."""
        self._renew = None
        self.attached = False
        self._view = memoryview(b"")
        self._size = 0

    def _reach(self, end: int) -> None:
        if self._renew is not None:
            self._view = self._renew()
            self._size = len(self._view)
        if end > self._size:
            raise GuestFault

    def range(self, pointer: int, length: int) -> memoryview:
        """Return a view of a range; copy it before the guest runs again."""
        end = pointer + length
        if end > self._size:
            self._reach(end)
        return self._view[pointer:end]

    def unpack(self, shape: struct.Struct, pointer: int) -> tuple[int, ...]:
        """Read one C struct of integers."""
        try:
            return shape.unpack_from(self._view, pointer)
        except struct.error:  # it ends beyond the view
            self._reach(pointer + shape.size)
            return shape.unpack_from(self._view, pointer)

    def iovec(self, pointer: int) -> tuple[int, ...]:
        """Read a pointer and a length."""
        try:
            return _unpack_iovec(self._view, pointer)
        except struct.error:
            return self.unpack(_IOVEC, pointer)

    def put_u32(self, pointer: int, value: int) -> None:
        """Write a number."""
        try:
            _pack_u32(self._view, pointer, value)
        except struct.error:
            self.pack(_U32, pointer, value)

    def pack(self, shape: struct.Struct, pointer: int, *values: int) -> None:
        """Write one C struct of integers."""
        try:
            shape.pack_into(self._view, pointer, *values)
        except struct.error:
            self._reach(pointer + shape.size)
            shape.pack_into(self._view, pointer, *values)

    def write(self, pointer: int, data: bytes | memoryview) -> None:
        """Write bytes."""
        end = pointer + len(data)
        if end > self._size:
            self._reach(end)
        self._view[pointer:end] = data
