"""Blocking calls on a socket that the kernel ends in time.

A timeout of Python's own costs a second system call: it asks before each whether the socket is ready.
"""

import socket
import struct
from typing import Final

_TIMEVAL: Final = struct.Struct("@ll")


def wait_at_most(plain: socket.socket, seconds: float, *directions: int) -> None:
    """Bound each wait of a blocking, plain socket: BlockingIOError when it was too long.

    `directions` are SO_RCVTIMEO, SO_SNDTIMEO or both. 0 seconds mean no bound.
    """
    whole = int(seconds)
    bound = _TIMEVAL.pack(whole, int((seconds - whole) * 1_000_000))
    for direction in directions:
        plain.setsockopt(socket.SOL_SOCKET, direction, bound)
