"""What every caller does when somebody else holds the row for too long."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from domain.store.connection import LockTimeoutError, SerializationError

Result = TypeVar("Result")


async def again(work: Callable[[], Awaitable[Result]]) -> Result:
    """Begin again, here until it is done: a slow machine holds a row longer than LOCK_TIMEOUT_MS."""
    while True:
        try:
            return await work()
        except (LockTimeoutError, SerializationError):
            continue
