"""Uvicorn's HTTP protocol, with answers in one system call and requests that must come to an end.

Uvicorn writes the head and the body of an answer one after the other, and on a small answer the second call costs more
than all it carries. And it waits for the rest of a request for ever, however long its head grows: a few thousand
connections that send a byte now and then would hold all a process has.
"""

import asyncio
import math
from collections.abc import Collection
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Longer than the idle time of the balancers in front, so that they close first and never send into a closing socket.
KEEP_ALIVE_S: Final = 75
# From its first byte; the slowest link sends a head of this platform within a second.
HEAD_S: Final = 15
# From the end of the head: the largest module at a megabit a second.
BODY_S: Final = 150
# Cookies, a trace, a key: a few hundred bytes; proxies allow 8 to 32 KiB. Checked as it comes in, in pieces of up to
# 256 KiB, so that a head may be that long when it comes at once.
HEAD_BYTES_MAX: Final = 65_536
_TOO_LONG: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class GatheredTransport:
    """A transport whose first write waits for a second, until the end of the event loop's turn at the longest."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport: Final = transport
        self._loop: Final = asyncio.get_running_loop()
        self._held = b""

    def write(self, data: bytes) -> None:
        """Send `data` with what is held, or hold it."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        else:
            self._held = data
            self._loop.call_soon(self.release)

    def release(self) -> None:
        """Send what is held."""
        held, self._held = self._held, b""
        if held:
            self._transport.write(held)

    def close(self) -> None:
        """Send what is held, then close."""
        self.release()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether the connection is being closed or is gone."""
        return self._transport.is_closing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self._transport.set_protocol(protocol)


class GatheringProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`. `close_overdue` must be called now and then."""

    overdue_at: float = math.inf
    """When the other side must have sent the next part of a request, by the loop's clock; never while it need not."""
    _head_bytes: int = 0
    _head_complete: bool = True

    def connection_made(self, transport: Any) -> None:  # uvicorn narrows asyncio's type
        """Begin a connection; reading and its pauses stay with the transport itself."""
        super().connection_made(transport)
        self.transport: Any = GatheredTransport(transport)
        self.overdue_at = self.loop.time() + KEEP_ALIVE_S

    def data_received(self, data: bytes) -> None:
        """Take what came; too much of it without an end of the head ends the connection."""
        super().data_received(data)
        if not self._head_complete:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.write(_TOO_LONG)
                self.transport.close()
        elif self.overdue_at == math.inf and self.cycle.response_complete:
            # Empty lines between two requests, which stopped uvicorn's own clock for idle connections.
            self.overdue_at = self.loop.time() + HEAD_S

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        super().on_message_begin()
        self._head_bytes, self._head_complete = 0, False
        self.overdue_at = self.loop.time() + HEAD_S

    def on_headers_complete(self) -> None:
        """Note that its head is there."""
        super().on_headers_complete()
        self._head_complete = True
        self.overdue_at = self.loop.time() + BODY_S

    def on_message_complete(self) -> None:
        """Note that all of it is there."""
        super().on_message_complete()
        self.overdue_at = math.inf


def close_overdue(connections: Collection[Any], now: float) -> int:
    """Close the connections whose other side keeps us waiting; return how many were overdue.

    Where we have stopped reading it is us the other side waits for: it gets its time anew.
    """
    overdue = [connection for connection in connections if isinstance(connection, GatheringProtocol)]
    overdue = [connection for connection in overdue if connection.overdue_at < now]
    for connection in overdue:
        if connection.flow.read_paused:
            connection.overdue_at = now + BODY_S
        else:
            connection.transport.close()
    return len(overdue)
