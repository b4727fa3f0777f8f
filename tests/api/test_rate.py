"""The rate limiter on a real Redis and by itself: the same answers either way."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis

from api.admission.rate import Allowance, Caller, RateLimiter
from api.operator.metrics import Metrics
from api.proxies import Proxies
from tests.api.platform import DEAD_REDIS_URL


@pytest.fixture(params=["redis", "by itself"])
async def limiter(request: pytest.FixtureRequest, redis_url: str) -> AsyncGenerator[RateLimiter]:
    redis = Redis.from_url(redis_url if request.param == "redis" else DEAD_REDIS_URL)
    yield RateLimiter(redis, clock=asyncio.get_running_loop().time, metrics=Metrics())
    await redis.aclose()


def passed(allowances: list[Allowance]) -> int:
    return sum(allowance.retry_after_s is None for allowance in allowances)


async def test_a_minutes_requests_pass_at_once_and_no_more(limiter: RateLimiter) -> None:
    caller, other = Caller("a", 10), Caller("b", 3)
    allowances, _ = await limiter.take([caller] * 6 + [other] * 5 + [caller] * 6)
    mine = allowances[:6] + allowances[11:]
    assert (passed(mine), passed(allowances[6:11])) == (10, 3)
    assert [allowance.remaining for allowance in mine[:10]] == list(range(9, -1, -1))
    assert all(allowance.retry_after_s is None for allowance in mine[:10])
    assert {allowance.retry_after_s for allowance in mine[10:]} == {6}
    assert mine[9].reset_s == 60


async def test_what_is_used_comes_back_one_by_one(limiter: RateLimiter) -> None:
    caller = Caller("c", 600)  # one comes back every tenth of a second
    assert passed((await limiter.take([caller] * 700))[0]) == 600
    await asyncio.sleep(0.35)
    assert passed((await limiter.take([caller] * 700))[0]) in {3, 4, 5, 6}


async def test_checks_that_come_together_are_counted_each(limiter: RateLimiter) -> None:
    allowances = await asyncio.gather(*(limiter.check(Caller("d", 7)) for _ in range(20)))
    assert passed(list(allowances)) == 7


async def test_a_rate_of_a_million_a_second_is_one_too(limiter: RateLimiter) -> None:
    caller = Caller("e", 10**9)
    assert passed((await limiter.take([caller] * 1_000))[0]) == 1_000


def test_only_our_own_proxies_are_believed() -> None:
    proxies = Proxies(["10.0.0.0/8"])
    forged = {b"x-forwarded-for": b"1.1.1.1, 8.8.8.8"}
    assert proxies.client_address(("203.0.113.9", 1), forged) == "203.0.113.9"
    assert proxies.client_address(("10.0.0.1", 1), forged) == "8.8.8.8"
    assert proxies.client_address(("10.0.0.1", 1), {b"x-forwarded-for": b"8.8.8.8, 10.1.1.1"}) == "8.8.8.8"
    assert proxies.client_address(("10.0.0.1", 1), {b"x-forwarded-for": b"<script>"}) == "10.0.0.1"
    assert proxies.client_address(("2001:db8::7", 1), {}) == "2001:db8::"
    assert proxies.client_address(None, {}) == "unknown"
