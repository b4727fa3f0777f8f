"""How many callers follow events in this process at the moment."""

from typing import Final

from api.errors import overloaded
from domain.model.errors import RefusedError

# Each looks into the database once a second for up to a minute; so many are a tenth of what one connection does.
FOLLOWERS_MAX: Final = 100


class Followers:
    """Enter it for as long as a caller waits. RefusedError (503) when there are too many."""

    def __init__(self) -> None:
        self._count = 0

    def __enter__(self) -> None:
        if self._count >= FOLLOWERS_MAX:
            raise RefusedError(overloaded("Too many callers follow events. Try again."))
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
