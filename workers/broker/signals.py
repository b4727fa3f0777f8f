"""Which middleware listens to which of Dramatiq's signals.

Dramatiq calls every middleware for every signal, and most of those calls reach the base class, which does nothing: with
the default list that was a third of a message's time, measured.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import dramatiq
from dramatiq.middleware import Middleware, MiddlewareError

Listener: TypeAlias = tuple[Middleware, Callable[..., Any]]


class Listeners:
    """The listeners of each signal, for one list of middleware. Any thread may ask."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self.middleware: Final = list(middleware)
        """The list this was made for: once it is another, so must these be."""
        self._before: Final[dict[str, tuple[Listener, ...]]] = {}
        self._after: Final[dict[str, tuple[Listener, ...]]] = {}

    def before(self, signal: str) -> tuple[Listener, ...]:
        """Return who does something before a signal, in the order of the list."""
        known = self._before.get(signal)
        if known is None:
            known = self._before[signal] = tuple(self._of("before_" + signal))
        return known

    def after(self, signal: str) -> tuple[Listener, ...]:
        """Return who does something after a signal, the last of the list first."""
        known = self._after.get(signal)
        if known is None:
            known = self._after[signal] = tuple(reversed(self._of("after_" + signal)))
        return known

    def _of(self, name: str) -> list[Listener]:
        return [(one, getattr(one, name)) for one in self.middleware if _listens(one, name)]


def _listens(middleware: Middleware, signal: str) -> bool:
    """Tell whether a middleware has a method of its own for a signal, from its class or set on itself."""
    nothing = getattr(Middleware, signal, None)
    return getattr(type(middleware), signal, None) is not nothing or signal in vars(middleware)


class QuietBroker(dramatiq.Broker):
    """A Dramatiq broker that sends a signal to those who listen, in Dramatiq's order and with its care for failures."""

    def __init__(self, middleware: list[Middleware]) -> None:
        self._listeners = Listeners(())
        super().__init__(middleware)

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:  # Any: Dramatiq's signature
        """Tell those middlewares that listen; only a MiddlewareError comes through."""
        for middleware, hear in self._listening().before(signal):
            try:
                hear(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception:
                self.logger.critical("Unexpected failure in before_%s of %r.", signal, middleware, exc_info=True)

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:  # Any: Dramatiq's signature
        """Tell those middlewares that listen, the last first; nothing comes through."""
        for middleware, hear in self._listening().after(signal):
            try:
                hear(self, *args, **kwargs)
            except Exception:
                self.logger.critical("Unexpected failure in after_%s of %r.", signal, middleware, exc_info=True)

    def _listening(self) -> Listeners:
        # The list is public, and a worker adds to it as it starts.
        listeners = self._listeners
        if listeners.middleware != self.middleware:
            listeners = self._listeners = Listeners(self.middleware)
        return listeners
