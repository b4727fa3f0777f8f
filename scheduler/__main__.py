"""The scheduler process. `python -m scheduler`; several may run."""

import asyncio
import logging
import os
import signal
import sys
from typing import Final

import uvloop

from domain.settings import SchedulerSettings, SettingsError, load
from domain.store.connection import Role, open_pool
from gateways.logs import configure
from gateways.metrics import serve as serve_metrics
from scheduler.jobs import Clockwork
from scheduler.loop import Scheduler
from workers.broker.async_link import open_redis

log: Final = logging.getLogger("spell.scheduler")

# One connection for each job that may run at once, and one to claim slots.
CONNECTIONS_MAX: Final = 6
SLOW_CONNECTIONS_MAX: Final = 2
SLOW_STATEMENT_TIMEOUT_MS: Final = 60_000


async def serve(settings: SchedulerSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    url = settings.engine_database_url.reveal()
    async with (
        open_redis(settings.redis_url.reveal()) as redis,
        open_pool(url, role=Role.ENGINE, size_max=CONNECTIONS_MAX) as pool,
        open_pool(
            url,
            role=Role.ENGINE,
            size_max=SLOW_CONNECTIONS_MAX,
            statement_timeout_ms=SLOW_STATEMENT_TIMEOUT_MS,
        ) as slow_pool,
    ):
        clockwork = Clockwork(pool=pool, slow_pool=slow_pool, redis=redis, token_key=settings.cast_token_key.reveal())
        log.info("scheduler runs")
        await Scheduler(clockwork).run(stop)
    log.info("scheduler stopped")


def main() -> int:
    """Run the scheduler process."""
    try:
        settings = load(SchedulerSettings, os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(settings.log_level)
    if settings.metrics_port is not None:
        serve_metrics(settings.metrics_port)
    uvloop.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
