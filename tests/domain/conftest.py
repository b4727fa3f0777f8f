from collections.abc import AsyncGenerator, Generator
from typing import Final

import pytest

from domain.store.connection import Pool, Role, open_pool
from tests.domain.setting import Setting
from tests.domain.world import World, make_world

# A first connection takes milliseconds; a loaded machine may take longer than POOL_TIMEOUT_S, which is for callers.
PATIENCE_SECONDS: Final = 120.0


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def neighbour(world: World, database_url: str) -> World:
    """Another account than `world`'s, and another creator, made after them."""
    assert world.database_url == database_url
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=8) as opened:
        await opened.wait(PATIENCE_SECONDS)
        yield opened


@pytest.fixture
def setting(database_url: str) -> Generator[Setting]:
    made = Setting(database_url)
    yield made
    made.close()
