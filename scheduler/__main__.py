"""The scheduler process. `python -m scheduler`; several may run."""

import asyncio
import logging
import sys
from contextlib import nullcontext
from typing import Final

from domain.settings import SchedulerSettings, StripeSettings
from domain.store.connection import ANY_PLANS, Pool, Role, open_pool
from gateways import process
from gateways.stripe.client import StripeGateway
from scheduler.inbox.flows import Shop
from scheduler.inbox.loop import Inbox
from scheduler.jobs import Clockwork
from scheduler.loop import Scheduler
from scheduler.outbox.loop import Outbox
from workers.broker.async_link import open_redis

log: Final = logging.getLogger("spell.scheduler")

# One connection for each job that may run at once, one to claim slots, and some for what Stripe tells.
CONNECTIONS_MAX: Final = 10
SLOW_CONNECTIONS_MAX: Final = 2
# Steps are recorded in a millisecond or two; Stripe takes a hundred times as long for one.
OUTBOX_CONNECTIONS_MAX: Final = 4
SLOW_STATEMENT_TIMEOUT_MS: Final = 60_000


async def serve(settings: SchedulerSettings, stop: asyncio.Event) -> None:
    """Run until `stop` is set."""
    url = settings.engine_database_url.reveal()
    async with (
        open_redis(settings.redis_url.reveal()) as redis,
        open_pool(url, role=Role.ENGINE, size_max=CONNECTIONS_MAX) as pool,
        open_pool(
            url,
            role=Role.ENGINE,
            size_max=SLOW_CONNECTIONS_MAX,
            statement_timeout_ms=SLOW_STATEMENT_TIMEOUT_MS,
            plans=ANY_PLANS,
        ) as slow_pool,
        nullcontext() if settings.stripe is None else StripeGateway(settings.stripe) as stripe,
    ):
        clockwork = Clockwork(
            pool=pool,
            slow_pool=slow_pool,
            redis=redis,
            token_key=settings.cast_token_key.reveal(),
            billing=settings.stripe is not None,
            stripe=stripe,
            credit_micros=settings.credit_micros,
        )
        log.info("scheduler runs")
        async with asyncio.TaskGroup() as group:
            group.create_task(Scheduler(clockwork).run(stop))
            if settings.stripe is not None:
                group.create_task(follow_stripe(settings.stripe, pool, stop))
                group.create_task(send_money(settings.stripe, url, stop))
    log.info("scheduler stopped")


async def follow_stripe(settings: StripeSettings, pool: Pool, stop: asyncio.Event) -> None:
    """Apply what Stripe tells until `stop` is set."""
    async with StripeGateway(settings) as stripe:
        await Inbox(pool, Shop.of(stripe, settings)).run(stop)


async def send_money(settings: StripeSettings, url: str, stop: asyncio.Event) -> None:
    """Ask Stripe for what stands in the outbox until `stop` is set."""
    async with (
        StripeGateway(settings) as stripe,
        open_pool(url, role=Role.ENGINE, size_max=OUTBOX_CONNECTIONS_MAX) as pool,
    ):
        await Outbox(pool, stripe).run(stop)


def main() -> int:
    """Run the scheduler process until SIGTERM or SIGINT; return its exit code."""
    return process.run(SchedulerSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
