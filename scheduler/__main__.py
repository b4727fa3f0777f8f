"""The scheduler process. `python -m scheduler`; several may run."""

import asyncio
import logging
import sys
from typing import Final

from domain.settings import SchedulerSettings
from domain.store.connection import ANY_PLANS, Role, open_pool
from gateways import process
from scheduler.jobs import Clockwork
from scheduler.loop import Scheduler
from workers.broker.async_link import open_redis

log: Final = logging.getLogger("spell.scheduler")

# One connection for each job that may run at once, and one to claim slots.
CONNECTIONS_MAX: Final = 6
SLOW_CONNECTIONS_MAX: Final = 2
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
    ):
        clockwork = Clockwork(pool=pool, slow_pool=slow_pool, redis=redis, token_key=settings.cast_token_key.reveal())
        log.info("scheduler runs")
        await Scheduler(clockwork).run(stop)
    log.info("scheduler stopped")


def main() -> int:
    """Run the scheduler process until SIGTERM or SIGINT; return its exit code."""
    return process.run(SchedulerSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
