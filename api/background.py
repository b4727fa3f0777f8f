"""Loops beside the requests: each does a bounded piece of work again and again, and survives its errors."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from redis.exceptions import RedisError

from domain.store.connection import StoreError

_logger: Final = logging.getLogger(__name__)
# After an error the loop waits at least this long, so that a dead server is not asked in a tight loop.
PAUSE_AFTER_ERROR_S: Final = 0.5


class Loop(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the list of background work: `work` is run every `every_s` seconds.

    With 0 it is run again at once: it must wait for something itself.
    """

    name: str
    every_s: float
    work: Callable[[], Awaitable[object]]


@asynccontextmanager
async def running(loops: list[Loop]) -> AsyncGenerator[None]:
    """Run `loops` until the block ends; then cancel them and wait for their end."""
    tasks = [asyncio.create_task(_run(loop), name=loop.name) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _run(loop: Loop) -> None:
    silent = False
    while True:
        pause_s = loop.every_s
        try:
            await loop.work()
            silent = False
        except (StoreError, RedisError, OSError) as error:
            if not silent:  # an outage is one line, not one twice a second
                _logger.warning("%s: %r", loop.name, error)
            silent = True
            pause_s = max(pause_s, PAUSE_AFTER_ERROR_S)
        except Exception:
            _logger.exception("%s failed and goes on", loop.name)
            pause_s = max(pause_s, PAUSE_AFTER_ERROR_S)
        if pause_s:  # else whoever was answered would all go on before the next batch leaves for Postgres
            await asyncio.sleep(pause_s)
