"""The api's end of the wire: how full it is, and the accepted casts that are not on it yet.

What is accepted is in Postgres; putting it on the wire happens beside the answer, and whatever is lost here is found
by the scheduler's resend.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.operator.metrics import Metrics
from domain.model.admission import Accepted
from domain.model.jobs import job_of
from domain.model.limits import MIB
from domain.model.messages import Pool
from workers import keys
from workers.broker import replies
from workers.broker.async_link import AsyncLink
from workers.broker.link import Command, Reply, checked
from workers.broker.wire import put

_logger: Final = logging.getLogger(__name__)

# A cast takes about 1 KiB on the wire without its input: this many fit beside everything else into 256 MiB.
CASTS_ON_WIRE_MAX: Final = 100_000
# The rest of Redis' memory is for usage events, so that finishing always has room.
MEMORY_SHARE_MAX_PERCENT: Final = 40
# What a Redis without a limit of its own is taken to have.
MEMORY_ASSUMED_BYTES: Final = 1024 * MIB
# INFO costs Redis 50 microseconds: often enough to see memory fill, rare enough not to be felt.
MEMORY_EVERY_S: Final = 0.25
# While Redis is silent this much is accepted on trust; it all goes out, from here or by resend.
UNSENT_MAX: Final = 5_000
UNSENT_BYTES_MAX: Final = 64 * MIB
PUT_COUNT_MAX: Final = 256
PUT_TIMEOUT_S: Final = 1.0
PUT_RETRY_S: Final = 0.1
# The scheduler resends what is missing after this (`flow.resend.AGE_MIN`). Somebody cut off from Redis for longer would
# put on the wire again what was resent, run and settled meanwhile: 337 entries for 48 open casts after 12 s (measured).
LEFT_TO_RESEND_S: Final = 2.0
# Going through an enumeration itself costs as much as what is done with its members here.
_POOLS: Final = tuple(Pool)
_HOW_MANY: Final[list[Command]] = [("SCARD", keys.open_set(pool)) for pool in Pool]


class Wire:
    """Knows how full the wire is and brings casts onto it. `clock` counts seconds and never goes back."""

    def __init__(self, redis: Redis, *, token_key: bytes, clock: Callable[[], float], metrics: Metrics) -> None:
        self._redis = redis
        self._token_key = token_key
        self._clock = clock
        self._metrics = metrics
        self._unsent: deque[tuple[float, Accepted]] = deque()
        self._unsent_bytes = 0
        self._arrived = asyncio.Event()
        self._casts_open = dict.fromkeys(Pool, 0)
        self._used_bytes = 0
        self._memory_bytes = MEMORY_ASSUMED_BYTES
        self._memory_asked_at = float("-inf")
        self._asks_memory = False
        self._silent = False
        metrics.watch(metrics.unsent, lambda: len(self._unsent))

    @property
    def full_pools(self) -> frozenset[Pool]:
        """The pools that take no more casts, as of the last answer of Redis."""
        trusted_out = len(self._unsent) >= UNSENT_MAX or self._unsent_bytes >= UNSENT_BYTES_MAX
        if trusted_out or self._used_bytes * 100 >= self._memory_bytes * MEMORY_SHARE_MAX_PERCENT:
            return _ALL_POOLS
        return frozenset(pool for pool, count in self._casts_open.items() if count >= CASTS_ON_WIRE_MAX)

    def questions(self) -> list[Command]:
        """Return the commands that tell how full the wire is, to go along with another round trip."""
        commands = _HOW_MANY.copy()
        self._asks_memory = self._clock() - self._memory_asked_at >= MEMORY_EVERY_S
        if self._asks_memory:
            commands.append(("INFO", "memory"))
        return commands

    def learn(self, answers: Sequence[Reply]) -> None:
        """Take in the answers to `questions`; none at all means that Redis is silent, and changes nothing."""
        if not answers:
            return
        for pool, answer in zip(_POOLS, answers, strict=False):
            if isinstance(answer, int):
                self._casts_open[pool] = answer
        if self._asks_memory and not isinstance(answers[-1], Exception):
            self._memory_asked_at = self._clock()
            self._used_bytes, limit_bytes = replies.memory(answers[-1])
            self._memory_bytes = limit_bytes or MEMORY_ASSUMED_BYTES

    def add(self, accepted: Accepted) -> None:
        """Take a cast that was committed as being on the wire."""
        self._unsent.append((self._clock(), accepted))
        self._unsent_bytes += len(accepted.spec.input)
        self._arrived.set()

    async def run_once(self) -> int:
        """Wait for casts, put what has come on the wire, and return how many left the line: old ones go to resend."""
        await self._arrived.wait()
        batch: list[Accepted] = []
        late = 0
        try:
            late = await self._leave_to_resend()
            batch = [self._unsent[index][1] for index in range(min(len(self._unsent), PUT_COUNT_MAX))]
            for pool in _POOLS:
                jobs = [job_of(cast, self._token_key) for cast in batch if cast.spec.pool is pool]
                await put(self._redis, pool, jobs, within_s=PUT_TIMEOUT_S)
        except (RedisError, OSError) as error:
            self._metrics.redis_errors.inc()
            if not self._silent:
                _logger.warning("accepted casts wait for Redis: %r", error)
            self._silent = True
            await asyncio.sleep(PUT_RETRY_S)
            return 0
        if self._silent:
            _logger.warning("Redis answers again: %s accepted casts go on the wire", late + len(self._unsent))
        self._silent = False
        for _ in batch:
            self._forget_first()
        if not self._unsent:
            self._arrived.clear()
        return late + len(batch)

    async def _leave_to_resend(self) -> int:
        """Forget what is so old that the scheduler may have put it on the wire, once Redis has answered at all."""
        oldest = self._clock() - LEFT_TO_RESEND_S
        if not self._unsent or self._unsent[0][0] >= oldest:
            return 0
        # While Redis is silent the line must grow: its length is what stops accepting on trust.
        checked((await AsyncLink(self._redis).run(_HOW_MANY[:1], within_s=PUT_TIMEOUT_S))[0])
        late = 0
        while self._unsent and self._unsent[0][0] < oldest:
            self._forget_first()
            late += 1
        return late

    def _forget_first(self) -> None:
        _, cast = self._unsent.popleft()
        self._unsent_bytes -= len(cast.spec.input)

    async def drain(self) -> None:
        """Put the rest on the wire, for as long as a shutdown may wait; after the loop has stopped.

        The scheduler's resend finds what stays behind.
        """
        try:
            async with asyncio.timeout(PUT_TIMEOUT_S):
                while self._unsent:
                    await self.run_once()
        except TimeoutError:
            _logger.warning("%s accepted casts are left to the scheduler's resend", len(self._unsent))

    async def eviction_policy(self) -> str:
        """Return what Redis does when its memory is full. Raises RedisError."""
        info = await AsyncLink(self._redis).call("INFO", "memory")
        text = info.decode() if isinstance(info, bytes) else str(info)
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name == "maxmemory_policy":
                return value.strip()
        return "unknown"


_ALL_POOLS: Final = frozenset(Pool)


class QueueState(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in one pool's streams."""

    pool: str
    jobs: int
    casts_open: int
    delayed: int
    dead: int
    usage: int
    usage_dead: int


async def queue_states(redis: Redis) -> list[QueueState]:
    """Return the state of every pool's streams, in one round trip. Raises RedisError."""
    commands: list[Command] = []
    for pool in Pool:
        commands += [
            ("XLEN", keys.jobs(pool)),
            ("SCARD", keys.open_set(pool)),
            ("ZCARD", keys.delayed(pool)),
            ("XLEN", keys.dead(pool)),
            ("XLEN", keys.usage(pool)),
            ("XLEN", keys.usage_dead(pool)),
        ]
    answers = [replies.integer(answer) for answer in await AsyncLink(redis).run(commands)]
    fields = len(commands) // len(Pool)
    return [
        QueueState(
            pool=pool, jobs=row[0], casts_open=row[1], delayed=row[2], dead=row[3], usage=row[4], usage_dead=row[5]
        )
        for pool, row in zip(Pool, (answers[i : i + fields] for i in range(0, len(answers), fields)), strict=True)
    ]
