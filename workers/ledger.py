"""The ledger worker: turns usage events into final, billed casts. `python -m workers.ledger`; any number may run.

An event is acknowledged only after the COMMIT that settled it; what is read and not acknowledged comes again. Counters
of usage are raised beside it, for many batches at once.
"""

import asyncio
import logging
import os
import sys
from collections import Counter as Tally
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.flow.close import end_without_run
from domain.flow.settle import Settled, settle, settle_as_read
from domain.model.cast_view import CastRow
from domain.model.limits import INLINE_BYTES_MAX
from domain.model.messages import CastJob, Outcome, UsageEvent
from domain.model.messages import Pool as WorkerPool
from domain.model.settlement import Ending
from domain.settings import LedgerSettings
from domain.store import usage
from domain.store.casts import cast_with_commit
from domain.store.connection import (
    BadRowError,
    CommitInDoubtError,
    LockTimeoutError,
    Pool,
    Role,
    SerializationError,
    StoreError,
    brief_transaction,
    open_pool,
    statement,
    transaction,
)
from gateways import process
from gateways.collector import collect_rarely
from gateways.metrics import Counter, Gauge, Histogram
from workers.broker import wire
from workers.broker.async_link import open_redis
from workers.broker.usage import BATCH_COUNT_MAX, UsageEntry, UsageReader
from workers.broker.waking import wake_message

log: Final = logging.getLogger("spell.ledger")

# Under load waiting makes one batch of what would be many, each with its statements, an fsync, and a row of its own for
# each account, window, month, key and counter it moves. An event of 160 accounts in turn cost 205 microseconds of CPU
# (Postgres and ledger) in batches of a hundred and 150 in batches of two hundred, measured. The more came last, the
# longer the next batch gathers; where little comes, little waits. What the last batch took counts: while it holds its
# accounts their next casts are not admitted, and waiting once more after that leaves the machine idle.
WINDOW_S_PER_EVENT: Final = 0.001
WINDOW_S_MAX: Final = 0.020
BLOCK_MS: Final = 1_000
ATTEMPTS_MAX: Final = 3
# After a failure of Postgres or Redis: long enough not to spin, short enough that recovery is not noticed.
PAUSE_S: Final = 0.25
# What is not counted yet is added up by whoever looks at usage: two seconds under full load are 3 ms of it.
COUNT_EVERY_S: Final = 2.0
# Two settling transactions at once for each pool, and one that counts.
CONNECTIONS_MAX: Final = 5

SETTLED: Final = Counter("spell_cast_settled_total", "Casts made final, by outcome.", ["outcome"])
PARKED: Final = Counter("spell_usage_parked_total", "Usage events that were not believed. Any increase is an alarm.")
STRAYS: Final = Counter("spell_usage_strays_total", "Usage events for casts that were final already.")
BATCH: Final = Histogram(
    "spell_ledger_batch_events", "Events per settled batch.", buckets=(1, 4, 16, 64, 128, 256, 500)
)
LAG: Final = Gauge(
    "spell_ledger_lag_seconds",
    "Age of the oldest event of the last batch when it was settled.",
    ["pool"],
    multiprocess_mode="livemax",
)
REDIS_ERRORS: Final = Counter("spell_redis_errors_total", "Redis commands that failed.")


class Ledger:
    """Settles the usage events of one pool's stream. One task calls `run_once`."""

    def __init__(self, pool: Pool, redis: Redis, worker_pool: WorkerPool, *, token_key: bytes, name: str) -> None:
        self._pool: Final = pool
        self._redis: Final = redis
        self._worker_pool: Final = worker_pool
        self._token_key: Final = token_key
        self._reader: Final = UsageReader(redis, worker_pool.value, name)
        self._held: list[UsageEntry] = []
        """Read and not finished: a failure or a held account lock; first in the next round."""
        self._begun_at = 0.0
        """When the last batch was read and begun, by the loop's clock."""

    async def run(self, stop: asyncio.Event) -> None:
        """Settle until `stop` is set."""
        window_s = 0.0
        clock = asyncio.get_running_loop().time
        while not stop.is_set():
            try:
                if (left_s := self._begun_at + window_s - clock()) > 0:
                    await asyncio.sleep(left_s)
                window_s = window_after(await self.run_once(block_ms=BLOCK_MS))
            except RedisError as error:
                REDIS_ERRORS.inc()
                await self._pause("redis", error)
            except StoreError as error:
                await self._pause("postgres", error)

    async def _pause(self, server: str, error: Exception) -> None:
        log.warning("%s failed; trying again", server, extra={"reason": str(error), "held": len(self._held)})
        await asyncio.sleep(PAUSE_S)

    async def run_once(self, *, block_ms: int = 0) -> int:
        """Settle one batch and return how many events were read; what could not be settled is kept for the next."""
        entries = self._held
        if not entries:
            entries = self._held = await self._reader.read(block_ms=block_ms)
        self._begun_at = asyncio.get_running_loop().time()
        if not entries:
            return 0
        for entry in [entry for entry in entries if entry.event is None]:
            await self._park(entry, "not a usage event")
        await self._settle([entry for entry in entries if entry.event is not None])
        return len(entries)

    async def _settle(self, entries: Sequence[UsageEntry]) -> None:
        """Settle `entries` in one transaction; halve them until a bad row stands alone."""
        if not entries:
            return
        events = [_event(entry) for entry in entries]
        try:
            settled, row = await self._attempt(events)
        except BadRowError as error:
            if len(entries) == 1:
                await self._end_culprit(entries[0], str(error))
                return
            middle = len(entries) // 2
            await self._settle(entries[:middle])
            await self._settle(entries[middle:])
            return
        await self._finish(entries, events, settled, row)

    async def _attempt(self, events: list[UsageEvent]) -> tuple[Settled, CastRow | None]:
        """Settle in a transaction of its own; return the row of a lone cast, too: somebody may wait for it."""
        skip_locked = False
        rows: list[CastRow] = []
        for attempt in range(ATTEMPTS_MAX):
            batch_id, token_key = uuid4(), self._token_key
            try:
                async with brief_transaction(self._pool) as connection:
                    if attempt == 0:
                        settled = await settle_as_read(connection, events, batch_id=batch_id, token_key=token_key)
                        if _is_lone_and_short(settled.endings):
                            cast_with_commit(connection, settled.endings[0].cast.id, rows.append)
                    else:
                        settled = await settle(
                            connection, events, batch_id=batch_id, token_key=token_key, skip_locked=skip_locked
                        )
            except LockTimeoutError:
                skip_locked = True
            except (SerializationError, CommitInDoubtError):
                # Settling again is harmless: what was committed comes back as strays.
                log.info("settling again", extra={"attempt": attempt + 1})
            else:
                return settled, rows[0] if rows else None
        message = f"a batch of {len(events)} events could not be settled in {ATTEMPTS_MAX} attempts"
        raise StoreError(message)

    async def _finish(
        self, entries: Sequence[UsageEntry], events: Sequence[UsageEvent], settled: Settled, row: CastRow | None
    ) -> None:
        """Tell everybody after COMMIT: the wire loses what is final and gets what came free, waiters wake."""
        await self._put(settled.freed)
        entry_of = {id(event): entry for event, entry in zip(events, entries, strict=True)}
        parked = [(entry_of.pop(id(event)), reason) for event, reason in settled.parked]
        for event in settled.postponed:
            entry_of.pop(id(event))
        done = list(entry_of.values())
        await self._reader.finish(done, self._wake(settled.endings, row))
        finished = {id(entry) for entry in done}
        self._held = [entry for entry in self._held if id(entry) not in finished]
        for entry, reason in parked:
            await self._park(entry, reason)
        self._measure(entries, settled)

    def _measure(self, entries: Sequence[UsageEntry], settled: Settled) -> None:
        BATCH.observe(len(entries))
        for outcome, casts in Tally(ending.outcome for ending in settled.endings).items():
            SETTLED.labels(outcome.value).inc(casts)
        if settled.strays:
            STRAYS.inc(len(settled.strays))
        added_ms = int(entries[0].entry_id.split(b"-")[0])
        LAG.labels(self._worker_pool.value).set(max(0.0, datetime.now(UTC).timestamp() - added_ms / 1000))

    async def _put(self, freed: Sequence[tuple[WorkerPool, CastJob]]) -> None:
        for worker_pool in WorkerPool:
            jobs = [job for pool, job in freed if pool is worker_pool]
            try:
                await wire.put(self._redis, worker_pool.value, jobs)
            except RedisError as error:
                REDIS_ERRORS.inc()
                log.warning("casts not put on the wire; resend will", extra={"casts": len(jobs), "reason": str(error)})

    async def _park(self, entry: UsageEntry, reason: str, *, final: bool = False) -> None:
        PARKED.inc()
        cast_id = entry.event.cast_id if entry.event is not None else None
        log.error("usage event parked", extra={"reason": reason, "cast_id": cast_id, "entry": entry.entry_id.decode()})
        await self._reader.park(entry, reason, final=final)
        self._held = [held for held in self._held if held is not entry]

    async def _end_culprit(self, entry: UsageEntry, reason: str) -> None:
        """End the cast whose event Postgres refuses as `platform_error`, so that its hold is released."""
        event = _event(entry)
        async with transaction(self._pool) as connection:
            closed = await end_without_run(
                connection,
                [event.cast_id],
                Outcome.PLATFORM_ERROR,
                batch_id=uuid4(),
                token_key=self._token_key,
                message="The platform could not store the result of this cast.",
            )
        await self._put(closed.freed)
        await self._park(entry, reason, final=True)
        await self._reader.finish([], self._wake(closed.endings))

    def _wake(self, endings: Sequence[Ending], row: CastRow | None = None) -> bytes:
        return wake_message([ending.cast.id for ending in endings], row, key=self._token_key)


async def count_usage(pool: Pool, stop: asyncio.Event) -> None:
    """Raise the counters of accounts for what was settled, by this ledger or any, every COUNT_EVERY_S until `stop`."""
    while not stop.is_set():
        try:
            async with statement(pool) as connection:
                counted = await usage.count(connection)
        except StoreError as error:
            log.warning("usage was not counted; trying again", extra={"reason": str(error)})
            counted = 0
        if not counted:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), COUNT_EVERY_S)


def window_after(events: int) -> float:
    """Return how many seconds after a batch of so many events was read the next one is.

    None behind a lone event, which somebody may wait for, and none behind a full batch: there is a backlog.
    """
    if events <= 1 or events >= BATCH_COUNT_MAX:
        return 0.0
    return min(events * WINDOW_S_PER_EVENT, WINDOW_S_MAX)


def _is_lone_and_short(endings: Sequence[Ending]) -> bool:
    """Tell whether a row goes to waiters at once; those of a batch are read together, and a long one by itself."""
    return len(endings) == 1 and len(endings[0].output or b"") + len(endings[0].log or b"") <= INLINE_BYTES_MAX


def _event(entry: UsageEntry) -> UsageEvent:
    """Return the event with its output inside, wherever it travelled."""
    assert entry.event is not None
    if entry.event.output is entry.output:
        return entry.event
    return msgspec.structs.replace(entry.event, output=entry.output)


async def serve(settings: LedgerSettings, stop: asyncio.Event) -> None:
    """Run a ledger for every pool until `stop` is set; a batch that has begun is finished."""
    redis = open_redis(settings.redis_url.reveal())
    database_url = settings.engine_database_url.reveal()
    consumer = f"{os.uname().nodename}:{os.getpid()}:{uuid4().hex[:8]}"
    async with redis, open_pool(database_url, role=Role.ENGINE, size_max=CONNECTIONS_MAX) as pool:
        ledgers = [
            Ledger(pool, redis, one, token_key=settings.cast_token_key.reveal(), name=consumer) for one in WorkerPool
        ]
        collect_rarely()
        log.info("ledger runs", extra={"consumer": consumer})
        await asyncio.gather(count_usage(pool, stop), *(ledger.run(stop) for ledger in ledgers))
    log.info("ledger stopped")


def main() -> int:
    """Run the ledger process until SIGTERM or SIGINT; return its exit code."""
    return process.run(LedgerSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
