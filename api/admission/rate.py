"""Rate limits: one Redis script for all requests of a moment, and a limiter of the process's own when Redis is silent.

A caller may send its requests of a minute at once; then they come back one by one (GCRA).
"""

import hashlib
import itertools
import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from api.coalesce import Coalesced
from api.operator.metrics import Metrics
from workers import keys
from workers.broker import replies
from workers.broker.async_link import AsyncLink
from workers.broker.link import Command, Reply, checked
from workers.broker.scripts import Script

_logger: Final = logging.getLogger(__name__)
_TEXT: Final = Path(__file__).with_suffix(".lua").read_bytes()
_SCRIPT: Final = Script(text=_TEXT, sha=hashlib.sha1(_TEXT, usedforsecurity=False).hexdigest())

WINDOW_S: Final = 60
_WINDOW_US: Final = WINDOW_S * 1_000_000
# Redis answers within a millisecond; a request must not wait long to learn that it does not.
REDIS_TIMEOUT_S: Final = 0.2
# While Redis is silent it is asked again this often; in between no request waits for it.
REDIS_RETRY_S: Final = 0.5
# Callers the local limiter remembers, and of whom it is known that they are refused; a forgotten one starts with its
# whole rate, as after a restart, or is asked for again.
LOCAL_CALLERS_MAX: Final = 10_000
CHECKS_PER_SCRIPT_MAX: Final = 1_000
# A minute divided by a rate and added to a clock again may miss a whole request, or a whole second, by less than this.
_ROUNDING: Final = 1e-6
_HEADERS: Final = (
    b'\r\nratelimit-policy: "default";q=%d;w=%d'
    b'\r\nratelimit: "default";r=%d;t=%d'
    b"\r\nx-ratelimit-limit: %d"
    b"\r\nx-ratelimit-remaining: %d"
    b"\r\nx-ratelimit-reset: %d"
)


class Caller(msgspec.Struct, frozen=True):
    """Who is limited (a key, an account, an address), how many requests a minute it has, and how many this one is."""

    name: str
    """`kind:subject`."""
    rpm: int
    weight: int = 1
    """A request that weighs more than a minute's rate takes all of it: no route is closed to a low rate."""

    @property
    def kind(self) -> str:
        """What is limited, for metrics: one of a few words."""
        return self.name.partition(":")[0]


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request and what is left. `retry_after_s` is set when it may not pass."""

    limit: int
    remaining: int
    reset_s: int
    """Seconds until the whole rate is back."""
    retry_after_s: int | None
    asked_at_s: int
    """Epoch seconds."""

    @property
    def lines(self) -> bytes:
        """The rate headers of the answer, as `api.protocol` takes them."""
        limit, remaining, reset_s = self.limit, self.remaining, self.reset_s
        return _HEADERS % (limit, WINDOW_S, remaining, reset_s, limit, remaining, self.asked_at_s + reset_s)


class RateLimiter:
    """Counts requests. `clock` counts seconds and never goes back; `now` is the wall clock."""

    def __init__(
        self, redis: Redis, *, clock: Callable[[], float], now: Callable[[], datetime], metrics: Metrics
    ) -> None:
        self._link = AsyncLink(redis)
        self._clock = clock
        self._now = now
        self._metrics = metrics
        self._silent = False
        self._silent_until = 0.0
        self._local: OrderedDict[str, float] = OrderedDict()
        self._refused: OrderedDict[Caller, tuple[float, float]] = OrderedDict()
        """Who was refused last, until when he is, and when his whole rate is back."""
        self._numbers = itertools.count()
        self._checks: Coalesced[tuple[Caller, int], Allowance] = Coalesced(self._check, keys_max=CHECKS_PER_SCRIPT_MAX)

    async def take(
        self, callers: Sequence[Caller], also: Sequence[Command] = ()
    ) -> tuple[list[Allowance], list[Reply]]:
        """Take one request from each of `callers`, in order, and run the commands `also` in the same round trip.

        Never raises: when Redis is silent the process limits by itself, and the replies are an empty list.
        """
        wanted = Counter(callers)
        asked_at = self._clock()
        answer = await self._ask(wanted, also)
        passed, extra = (self._take_locally(wanted), []) if answer is None else answer
        for caller, (count, back_us) in passed.items():
            if count < wanted[caller]:
                self._remember(caller, asked_at, back_us)
        return _shared(callers, passed, int(self._now().timestamp())), extra

    def refused(self, caller: Caller) -> Allowance | None:
        """Return what a request of `caller` would be told that cannot pass yet, by an answer of before; None: ask.

        Whatever else asks for him meanwhile makes it later, so a caller far over his rate costs a round trip for each
        request that may pass, and not for each that he sends.
        """
        known = self._refused.get(caller)
        if known is None:
            return None
        until, back_at = known
        now = self._clock()
        if now >= until:
            del self._refused[caller]
            return None
        return next(_allowances(caller, 0, (back_at - now) * 1_000_000, int(self._now().timestamp())))

    def _remember(self, caller: Caller, asked_at: float, back_us: float) -> None:
        until = asked_at + (back_us + _interval_us(caller) - _WINDOW_US) / 1_000_000
        self._refused[caller] = until, asked_at + back_us / 1_000_000
        if len(self._refused) > LOCAL_CALLERS_MAX:
            self._refused.popitem(last=False)

    async def check(self, caller: Caller) -> Allowance:
        """Take one request of `caller`; those that come together share a round trip."""
        if (refused := self.refused(caller)) is not None:
            return refused
        allowance = await self._checks.get((caller, next(self._numbers)))
        assert allowance is not None, "every check has an answer"
        return allowance

    async def _check(self, checks: list[tuple[Caller, int]]) -> Mapping[tuple[Caller, int], Allowance]:
        allowances, _ = await self.take([caller for caller, _ in checks])
        return dict(zip(checks, allowances, strict=True))

    async def _ask(
        self, wanted: Counter[Caller], also: Sequence[Command]
    ) -> tuple[dict[Caller, tuple[int, float]], list[Reply]] | None:
        if self._clock() < self._silent_until:
            return None
        names = [keys.rate(caller.name) for caller in wanted]
        arguments = [text for caller, count in wanted.items() for text in (repr(_interval_us(caller)), count)]
        commands: list[Command] = [("EVALSHA", _SCRIPT.sha, len(names), *names, *arguments), *also]
        try:
            answers = await self._link.run(commands, within_s=REDIS_TIMEOUT_S)
            if isinstance(answers[0], NoScriptError):  # the server was restarted, or has just been met
                loading: Command = ("SCRIPT", "LOAD", _SCRIPT.text)
                answers = (await self._link.run([loading, *commands], within_s=REDIS_TIMEOUT_S))[1:]
            numbers = replies.integers(checked(answers[0]))
        except (RedisError, OSError, TimeoutError) as error:
            self._silent_until = self._clock() + REDIS_RETRY_S
            self._metrics.redis_errors.inc()
            if not self._silent:
                _logger.warning("Redis does not answer, this process limits rates by itself: %r", error)
            self._silent = True
            return None
        self._silent = False
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return dict(zip(wanted, pairs, strict=True)), answers[1:]

    def _take_locally(self, wanted: Counter[Caller]) -> dict[Caller, tuple[int, float]]:
        now_us = self._clock() * 1_000_000
        taken: dict[Caller, tuple[int, float]] = {}
        for caller, count in wanted.items():
            interval_us = _interval_us(caller)
            back_us = max(self._local.pop(caller.name, now_us), now_us)
            room = math.floor((now_us + _WINDOW_US - back_us) / interval_us + _ROUNDING)
            passed = max(0, min(room, count))
            back_us += passed * interval_us
            self._local[caller.name] = back_us
            taken[caller] = (passed, back_us - now_us)
        while len(self._local) > LOCAL_CALLERS_MAX:
            self._local.popitem(last=False)
        return taken


def _interval_us(caller: Caller) -> float:
    """Return what one request of `caller` takes from its minute."""
    return _WINDOW_US / caller.rpm if caller.weight == 1 else _WINDOW_US * min(caller.weight, caller.rpm) / caller.rpm


def _whole_seconds(us: float) -> int:
    """Return the seconds after which `us` have passed."""
    return math.ceil(us / 1_000_000 - _ROUNDING)


def _shared(callers: Sequence[Caller], taken: Mapping[Caller, tuple[int, float]], now_s: int) -> list[Allowance]:
    """Give what passed to the first requests of each caller, in order of arrival; what is left counts plain ones."""
    shares = {caller: _allowances(caller, *taken[caller], now_s) for caller in taken}
    return [next(shares[caller]) for caller in callers]


def _allowances(caller: Caller, passed: int, back_us: float, now_s: int) -> Iterator[Allowance]:
    """Yield what each request of `caller` gets, without end; `passed` of them may pass."""
    left = max(0, math.floor((_WINDOW_US - back_us) * caller.rpm / _WINDOW_US + _ROUNDING))
    reset_s = _whole_seconds(back_us)
    for to_come in range(passed - 1, -1, -1):
        remaining = left + to_come * min(caller.weight, caller.rpm)
        yield Allowance(limit=caller.rpm, remaining=remaining, reset_s=reset_s, retry_after_s=None, asked_at_s=now_s)
    retry_after_s = max(1, _whole_seconds(back_us + _interval_us(caller) - _WINDOW_US))
    late = Allowance(limit=caller.rpm, remaining=left, reset_s=reset_s, retry_after_s=retry_after_s, asked_at_s=now_s)
    while True:
        yield late
