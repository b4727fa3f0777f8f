"""Is the process alive, and can it do its work: /healthz, /readyz and /metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Response, get
from redis.exceptions import RedisError

from api.metrics import CONTENT_TYPE
from api.services import Services
from domain.model.messages import Pool
from domain.store.connection import StoreError, transaction
from domain.store.ops import partition_ready
from migrations.files import MigrationError
from migrations.runner import pending_on
from workers.broker.wire import workers_alive

# A probe that takes longer is a no: the balancer asks again soon.
CHECK_TIMEOUT_S: Final = 2.0


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing /readyz looks at. A check that is not `required` is shown, and does not take the process out."""

    ok: bool
    detail: str = ""
    required: bool = True


@get("/healthz", sync_to_thread=False, tags=["operations"], security=[])
def healthz() -> dict[str, str]:
    """Answer 200 as long as the process serves requests at all."""
    return {"status": "ok"}


@get("/readyz", tags=["operations"], security=[])
async def readyz(services: Services) -> Response[dict[str, Any]]:
    """Answer 200 when every required check passes, else 503; the body says which."""
    checks = {
        "serving": Check(ok=not services.shutdown.started, detail="" if not services.shutdown.started else "stopping"),
        **await _postgres(services),
        **await _redis(services),
    }
    ready = all(check.ok for check in checks.values() if check.required)
    workers = {pool.value: await _workers(services, pool) for pool in Pool}
    body = {"status": "ok" if ready else "unavailable", "checks": checks, "workers": workers}
    return Response(body, status_code=200 if ready else 503, headers={} if ready else {"retry-after": "1"})


@get("/metrics", tags=["operations"], security=[])
async def metrics(services: Services) -> Response[bytes]:
    """Answer everything this process counts, in Prometheus' text format."""
    await services.sampler.sample()
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE)


async def _postgres(services: Services) -> dict[str, Check]:
    async def look() -> dict[str, Check]:
        async with transaction(services.engine_pool) as connection:
            pending = await pending_on(connection)
            ready = await partition_ready(connection, now=services.now())
        return {
            "postgres": Check(ok=True),
            "migrations": Check(ok=not pending, detail="" if not pending else f"not applied: {', '.join(pending)}"),
            "partitions": Check(ok=ready, detail="" if ready else "this month's or the next one's is missing"),
        }

    return await _within(look, "postgres")


async def _redis(services: Services) -> dict[str, Check]:
    async def look() -> dict[str, Check]:
        policy = await services.wire.eviction_policy()
        keeps = policy == "noeviction"
        detail = "" if keeps else f"maxmemory-policy is {policy}; set it to noeviction, or casts are evicted"
        return {"redis": Check(ok=True), "redis_noeviction": Check(ok=keeps, detail=detail)}

    return await _within(look, "redis")


async def _within(look: Callable[[], Awaitable[dict[str, Check]]], name: str) -> dict[str, Check]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await look()
    except (StoreError, RedisError, MigrationError, OSError) as error:  # TimeoutError is an OSError
        return {name: Check(ok=False, detail=str(error).partition("\n")[0] or "no answer in time")}


async def _workers(services: Services, pool: Pool) -> list[dict[str, Any]]:
    """Return what each living worker says about itself: engine and jail among it."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            facts = await workers_alive(services.redis, pool)
    except (RedisError, OSError):
        return []
    return [{"name": name, **_facts(raw)} for name, raw in sorted(facts.items())]


def _facts(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


ROUTES: Final = [healthz, readyz, metrics]
