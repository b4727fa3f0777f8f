"""Fixtures of the tests of money on its way to Stripe."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from domain.store.connection import ANY_PLANS, Pool, Role, open_pool
from local.stripe.fake import FakeStripe
from tests.domain.world import World, make_world
from tests.scheduler.billed_many import SEED, stripe_clock


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=12, plans=ANY_PLANS) as opened:
        yield opened


@pytest.fixture
def fake(tmp_path: Path) -> Generator[FakeStripe]:
    made = FakeStripe(tmp_path / "stripe", seed=SEED, clock=stripe_clock)
    made.start()
    yield made
    made.close()
