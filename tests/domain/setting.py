"""What all examples of a state machine share, whose rules are no coroutines."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from domain.store.connection import Pool, Role, open_pool
from tests.domain import fake_clock

Result = TypeVar("Result")


class Setting:
    """A loop, a pool and a database whose clock stands where it is told to."""

    def __init__(self, database_url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.database_url = database_url
        self.run(fake_clock.install(database_url))
        self.pool: Pool = open_pool(database_url, role=Role.ENGINE, size_max=2)
        self.run(self.pool.open())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.pool.close())
        self.loop.close()
