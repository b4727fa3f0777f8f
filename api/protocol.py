"""How answers leave the process: uvicorn's HTTP protocol, with the head and the body of an answer in one system call.

Uvicorn writes them one after the other, and on a small answer the second call costs more than all it carries.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


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
    """For `uvicorn.Config(http=...)`."""

    def connection_made(self, transport: Any) -> None:  # uvicorn narrows asyncio's type
        """Begin a connection; reading and its pauses stay with the transport itself."""
        super().connection_made(transport)
        self.transport: Any = GatheredTransport(transport)
