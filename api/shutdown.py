"""The one moment in which the process begins to stop: readiness goes off, streams end, waiters are answered."""

import asyncio
from collections.abc import Callable


class Shutdown:
    """Begun by the first signal, before the server waits for its connections."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._actions: list[Callable[[], None]] = []

    @property
    def started(self) -> bool:
        """Whether the process is stopping."""
        return self._event.is_set()

    def then(self, action: Callable[[], None]) -> None:
        """Have `action` run when it begins."""
        self._actions.append(action)

    def begin(self) -> None:
        """Begin, once; from the event loop's thread."""
        if not self._event.is_set():
            self._event.set()
            for action in self._actions:
                action()

    async def wait(self) -> None:
        """Return when it has begun."""
        await self._event.wait()
