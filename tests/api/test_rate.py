"""The rate limiter on a real Redis and by itself: the same answers either way."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from api.admission.rate import REDIS_RETRY_S, Allowance, Caller, RateLimiter
from api.operator.metrics import Metrics
from tests.api.platform import DEAD_REDIS_URL
from workers import keys


@pytest.fixture(params=["redis", "by itself"])
async def limiter(request: pytest.FixtureRequest, redis_url: str) -> AsyncGenerator[RateLimiter]:
    redis = Redis.from_url(redis_url if request.param == "redis" else DEAD_REDIS_URL)
    yield RateLimiter(redis, clock=asyncio.get_running_loop().time, now=lambda: datetime.now(UTC), metrics=Metrics())
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


async def test_a_heavy_request_passes_whole_or_takes_nothing(limiter: RateLimiter) -> None:
    plain, heavy = Caller("f", 25), Caller("f", 25, 10)
    allowances, _ = await limiter.take([heavy] * 4)
    assert passed(allowances) == 2
    assert [allowance.remaining for allowance in allowances] == [15, 5, 5, 5]
    assert {allowance.limit for allowance in allowances} == {25}
    # Five more have to come back, one every 2.4 seconds.
    assert {allowance.retry_after_s for allowance in allowances[2:]} == {12}
    allowances, _ = await limiter.take([plain] * 7)
    assert passed(allowances) == 5, "what the refused ones left alone"
    assert [allowance.remaining for allowance in allowances] == [4, 3, 2, 1, 0, 0, 0]


async def test_plain_and_heavy_requests_of_a_moment_are_one_rate(limiter: RateLimiter) -> None:
    plain, heavy = Caller("g", 25), Caller("g", 25, 10)
    allowances, _ = await limiter.take([plain, heavy, plain, heavy, heavy, plain])
    assert passed(allowances) == 5
    assert [allowance.retry_after_s is None for allowance in allowances] == [True, True, True, True, False, True]
    assert min(allowance.remaining for allowance in allowances) == 2


async def test_a_rate_below_a_routes_weight_allows_one_request_for_all_of_it(limiter: RateLimiter) -> None:
    heavy = Caller("h", 3, 20)
    allowances, _ = await limiter.take([heavy] * 2)
    assert [(one.remaining, one.retry_after_s) for one in allowances] == [(0, None), (0, 60)]


async def test_no_second_is_added_by_how_long_the_machine_runs() -> None:
    redis = Redis.from_url(DEAD_REDIS_URL)
    now = 0.0
    limiter = RateLimiter(redis, clock=lambda: now, now=lambda: datetime.now(UTC), metrics=Metrics())
    seconds: set[tuple[int, int | None]] = set()
    for number in range(1_000):
        now += 0.7 + number / 3
        allowances, _ = await limiter.take([Caller(f"i:{number}", 3, 20)] * 2)
        seconds |= {(allowance.reset_s, allowance.retry_after_s) for allowance in allowances}
    assert seconds == {(60, None), (60, 60)}
    await redis.aclose()


async def test_what_redis_refuses_is_limited_by_the_process_until_redis_answers_again(redis_url: str) -> None:
    """A row of another type stands in for a broken server: the script fails until it is gone."""
    now, metrics, caller = [0.0], Metrics(), Caller("i", 4)
    async with Redis.from_url(redis_url) as redis:
        limiter = RateLimiter(redis, clock=lambda: now[0], now=lambda: datetime.now(UTC), metrics=metrics)
        await redis.execute_command("LPUSH", keys.rate("i"), "no number")
        allowances, extra = await limiter.take([caller] * 6, [("PING",)])
        assert (passed(allowances), extra, errors(metrics)) == (4, [], 1)
        await redis.delete(keys.rate("i"))
        now[0] += REDIS_RETRY_S / 2
        assert passed((await limiter.take([caller] * 6))[0]) == 0, "not asked again yet, and the minute goes on"
        assert (errors(metrics), await redis.exists(keys.rate("i"))) == (1, 0)
        now[0] += REDIS_RETRY_S / 2
        allowances, extra = await limiter.take([caller] * 6, [("PING",)])
        assert (passed(allowances), extra, errors(metrics)) == (4, [b"PONG"], 1)
        assert await redis.exists(keys.rate("i")) == 1


async def test_who_is_over_his_rate_is_not_asked_for_until_he_may_pass(redis_url: str) -> None:
    """Whoever is asked for after the row is gone passes."""
    now, caller = [0.0], Caller("j", 4)
    async with Redis.from_url(redis_url) as redis:
        limiter = RateLimiter(redis, clock=lambda: now[0], now=lambda: datetime.now(UTC), metrics=Metrics())
        assert limiter.refused(caller) is None
        asked = (await limiter.take([caller] * 5))[0][-1]
        assert (asked.limit, asked.remaining, asked.reset_s, asked.retry_after_s) == (4, 0, 60, 15)
        await redis.delete(keys.rate("j"))
        assert seconds_of(await limiter.check(caller)) == seconds_of(asked)
        now[0] += 14.2
        assert seconds_of(await limiter.check(caller)) == (4, 0, 46, 1)
        assert limiter.refused(Caller("j", 4, 2)) is None, "another weight has an answer of its own"
        assert limiter.refused(Caller("j", 5)) is None, "as has another rate"
        now[0] += 0.8
        assert seconds_of(await limiter.check(caller)) == (4, 3, 15, None)


async def test_only_so_many_callers_are_known_to_be_refused(
    limiter: RateLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.admission.rate.LOCAL_CALLERS_MAX", 2)
    callers = [Caller(f"k:{number}", 1) for number in range(3)]
    for caller in callers:
        await limiter.take([caller] * 2)
    assert [limiter.refused(caller) is None for caller in callers] == [True, False, False]


def seconds_of(allowance: Allowance) -> tuple[int, int, int, int | None]:
    return allowance.limit, allowance.remaining, allowance.reset_s, allowance.retry_after_s


def errors(metrics: Metrics) -> float:
    text = metrics.exposition().decode()
    return float(text.split("\nspell_redis_errors_total ")[1].split()[0])
