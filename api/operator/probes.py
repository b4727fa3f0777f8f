"""What /readyz looks at, looked at by one question at a time however many ask."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.admission.wire import Wire
from api.coalesce import Coalesced
from domain.model.messages import Pool as WorkerPool
from domain.store.connection import Pool, StoreError, transaction
from domain.store.ops import partition_ready
from migrations.files import MigrationError
from migrations.runner import pending_on
from workers.broker.wire import workers_alive

# A probe that takes longer is a no: the balancer asks again soon.
TIMEOUT_S: Final = 2.0
_ALL: Final = "all"


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that must be so for requests to be served."""

    ok: bool
    detail: str = ""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """The checks by name, and what each living worker says about itself, by pool."""

    checks: dict[str, Check]
    workers: dict[str, list[dict[str, Any]]]


class Probes:
    """Looks at Postgres, Redis and the workers. `/readyz` is open to all, so callers share one look."""

    def __init__(self, engine_pool: Pool, redis: Redis, wire: Wire, *, now: Callable[[], datetime]) -> None:
        self._pool = engine_pool
        self._redis = redis
        self._wire = wire
        self._now = now
        self._looks: Coalesced[str, Findings] = Coalesced(self._look, keys_max=1)

    async def look(self) -> Findings:
        """Return what is found now, or was found while the caller waited. Never raises."""
        findings = await self._looks.get(_ALL)
        assert findings is not None, "every look finds something"
        return findings

    async def _look(self, keys: list[str]) -> dict[str, Findings]:
        checks = {**await _within(self._postgres, "postgres"), **await _within(self._redis_server, "redis")}
        workers = {pool.value: await self._workers(pool) for pool in WorkerPool}
        return dict.fromkeys(keys, Findings(checks=checks, workers=workers))

    async def _postgres(self) -> dict[str, Check]:
        async with transaction(self._pool) as connection:
            pending = await pending_on(connection)
            ready = await partition_ready(connection, now=self._now())
        return {
            "postgres": Check(ok=True),
            "migrations": Check(ok=not pending, detail="" if not pending else f"not applied: {', '.join(pending)}"),
            "partitions": Check(ok=ready, detail="" if ready else "this month's or the next one's is missing"),
        }

    async def _redis_server(self) -> dict[str, Check]:
        policy = await self._wire.eviction_policy()
        keeps = policy == "noeviction"
        detail = "" if keeps else f"maxmemory-policy is {policy}; set it to noeviction, or casts are evicted"
        return {"redis": Check(ok=True), "redis_noeviction": Check(ok=keeps, detail=detail)}

    async def _workers(self, pool: WorkerPool) -> list[dict[str, Any]]:
        """Return what each living worker says about itself: engine and jail among it."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                facts = await workers_alive(self._redis, pool)
        except (RedisError, OSError):
            return []
        return [{"name": name, **_facts(raw)} for name, raw in sorted(facts.items())]


async def _within(look: Callable[[], Awaitable[dict[str, Check]]], name: str) -> dict[str, Check]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await look()
    except (StoreError, RedisError, MigrationError, OSError) as error:  # TimeoutError is an OSError
        # Who asks is not known: what the driver says, addresses among it, stays in the log of the loops.
        return {name: Check(ok=False, detail=f"no answer ({type(error).__name__})")}


def _facts(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
