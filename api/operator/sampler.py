"""Figures of the whole platform that this process can see, read when somebody asks and then kept for a moment."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.access_log import Log
from api.admission.wire import queue_states
from api.operator.metrics import Metrics
from domain.store.connection import Pool, StoreError, statement
from domain.store.ops import holds_total

_logger: Final = logging.getLogger(__name__)
# The sums walk over all open casts: several scrapers together must not make that a load.
FRESH_S: Final = 5.0
# Gauges of a process are this old where another process of the machine is asked.
NOTE_EVERY_S: Final = 1.0
TIMEOUT_S: Final = 2.0


class Sampler:
    """Brings queue depth, ledger lag and open holds into the metrics. `clock` counts seconds."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        log: Log,
        app_pool: Pool,
        engine_pool: Pool,
        redis: Redis,
        clock: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._engine_pool = engine_pool
        self._redis = redis
        self._clock = clock
        self._asked_at = float("-inf")
        metrics.watch(metrics.log_lines_dropped, lambda: log.dropped)
        for pool in (app_pool, engine_pool):
            metrics.watch(metrics.db_pool_in_use.labels(pool.name), partial(_in_use, pool))

    async def note(self) -> None:
        """Write this process's own gauges down, for another that is asked in its place."""
        self._metrics.note()

    async def sample(self) -> None:
        """Read what is older than FRESH_S. What cannot be read keeps its last value: /metrics answers in any case."""
        if self._clock() - self._asked_at < FRESH_S:
            return
        self._asked_at = self._clock()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._sample_redis()
                await self._sample_postgres()
        except (StoreError, RedisError, OSError) as error:
            _logger.warning("some metrics are old: %r", error)

    async def _sample_redis(self) -> None:
        for state in await queue_states(self._redis):
            self._metrics.queue_depth.labels(state.pool).set(state.jobs)
            self._metrics.queue_dead.labels(state.pool).set(state.dead)
            self._metrics.ledger_lag.labels(state.pool).set(state.usage)

    async def _sample_postgres(self) -> None:
        async with statement(self._engine_pool) as connection:
            total = await holds_total(connection)
        self._metrics.open_holds.set(total.open_casts)
        self._metrics.open_holds_micros.set(total.casts_held_micros)
        self._metrics.holds_drift_micros.set(total.drift_micros)


def _in_use(pool: Pool) -> int:
    stats = pool.get_stats()
    return stats.get("pool_size", 0) - stats.get("pool_available", 0)
