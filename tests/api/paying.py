"""An api that bills through the stand-in for Stripe, and what the scheduler does with the news."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from domain.environment import Reader
from domain.flow.follow_stripe import end_grace, graces_over
from domain.store.connection import Role, open_pool, transaction
from domain.vendor_settings import StripeSettings
from gateways.stripe.client import StripeGateway
from local.stripe.fake import FakeStripe
from scheduler.inbox.flows import Shop
from scheduler.inbox.loop import Inbox
from tests.api.platform import Api, run_api

Result = TypeVar("Result")
ROUNDS_MAX: Final = 100


@contextmanager
def run_shop(database_url: str, redis_url: str, folder: Path, **settings: str) -> Generator[tuple[Api, FakeStripe]]:
    """Run both, with the stand-in's events going to the api."""
    stripe = FakeStripe(folder / "stripe")
    stripe.start()
    try:
        with run_api(database_url, redis_url, folder, **{**stripe.settings, **settings}) as api:
            stripe.webhooks(url=f"{api.url}/webhooks/stripe")
            yield api, stripe
    finally:
        stripe.close()


def _run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Do it on a loop of its own, in a thread of its own: a browser that is driven has one in this."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(lambda: asyncio.run(work())).result()


def follow(database_url: str, stripe: FakeStripe) -> None:
    """Wait until the api has all news, and apply them."""
    stripe.settle()
    _run(lambda: _follow(database_url, stripe))


async def _follow(database_url: str, stripe: FakeStripe) -> None:
    settings = StripeSettings.read(Reader(stripe.settings))
    assert settings is not None
    async with (
        StripeGateway(settings, seconds_max=60.0) as gateway,
        open_pool(database_url, role=Role.ENGINE, size_max=6) as pool,
    ):
        inbox = Inbox(pool, Shop.of(gateway, settings))
        for _ in range(ROUNDS_MAX):
            if await inbox.run_once() == 0:
                return


def end_graces(database_url: str, now: datetime) -> int:
    """End the graces that are over at `now`; return how many."""
    return _run(lambda: _end_graces(database_url, now))


async def _end_graces(database_url: str, now: datetime) -> int:
    async with open_pool(database_url, role=Role.ENGINE, size_max=1) as pool:
        async with transaction(pool) as connection:
            accounts = await graces_over(connection, now=now)
        ended = 0
        for account_id in accounts:
            async with transaction(pool) as connection:
                ended += await end_grace(connection, account_id=account_id, now=now)
        return ended
