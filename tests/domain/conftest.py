from collections.abc import AsyncGenerator

import pytest

from domain.store.connection import Pool, Role, open_pool
from tests.domain.world import World, make_world


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=8) as opened:
        yield opened
