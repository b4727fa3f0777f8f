"""Callers who wait for a cast to end. Ids come over Redis as a hint, and results from Postgres.

Of a cast that ended alone the ledger sends its row as it has committed it, sealed with a key that no worker has. A
waiter is registered before the COMMIT that accepts its cast, so no result can come before somebody listens. A hint may
be lost: four times a second the process asks Postgres for everything it waits for.
"""

import asyncio
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from redis.asyncio import Redis

from api.operator.metrics import Metrics
from domain.model.cast_view import FINAL_STATUSES, CastRow
from domain.store.casts import casts_by_id, casts_status
from domain.store.connection import Pool, statement
from workers import keys
from workers.broker.async_link import listen
from workers.broker.waking import CAST_ID_BYTES, row_in

_logger: Final = logging.getLogger(__name__)

ASK_EVERY_S: Final = 0.25
IDS_PER_QUESTION_MAX: Final = 5_000
# Outputs are up to 10 MiB each; this many of a few KiB are one comfortable answer.
ROWS_PER_QUESTION_MAX: Final = 200


class Waiter:
    """One caller's interest in one cast. Give it back with `Waiting.forget`, whatever happens."""

    __slots__ = ("_asleep", "_row", "answered", "cast_id", "seen")

    def __init__(self, cast_id: UUID, seen: str | None) -> None:
        self.cast_id = cast_id
        self.seen = seen
        """The status the caller knows; None: only a final one is of interest."""
        self.answered = False
        self._row: CastRow | None = None
        self._asleep: asyncio.Future[None] | None = None

    def wants(self, status: str) -> bool:
        """Tell whether `status` is news."""
        return status in FINAL_STATUSES or (self.seen is not None and status != self.seen)

    def answer(self, row: CastRow | None) -> None:
        """End the wait with what is known by now; the first answer stands."""
        if not self.answered:
            self.answered, self._row = True, row
            _wake(self._asleep)

    async def row(self, timeout_s: float) -> CastRow | None:
        """Return the cast once it ended (or changed); None after `timeout_s`, or when the process stops.

        With a timer and a future of its own: `asyncio.timeout` and `shield` take three times as long, and a turn of the
        loop more.
        """
        if not self.answered:
            loop = asyncio.get_running_loop()
            asleep = self._asleep = loop.create_future()
            timer = loop.call_later(timeout_s, _wake, asleep)
            try:
                await asleep
            finally:
                timer.cancel()
        return self._row


def _wake(asleep: asyncio.Future[None] | None) -> None:
    if asleep is not None and not asleep.done():
        asleep.set_result(None)


class Waiting:
    """All waiters of the process."""

    def __init__(self, engine_pool: Pool, redis: Redis, *, token_key: bytes, metrics: Metrics) -> None:
        self._pool = engine_pool
        self._redis = redis
        self._token_key = token_key
        self._waiters: dict[bytes, list[Waiter]] = {}
        self._due: dict[UUID, None] = {}
        self._fetch: asyncio.Task[None] | None = None
        self._closed = False
        self.streams = 0
        """How many event streams are open."""
        metrics.watch(metrics.waiting, lambda: len(self._waiters))

    def register(self, cast_id: UUID, *, seen: str | None = None) -> Waiter:
        """Start to wait for a cast; with `seen` for any change of its status."""
        waiter = Waiter(cast_id, seen)
        if self._closed:
            waiter.answer(None)
        else:
            self._waiters.setdefault(cast_id.bytes, []).append(waiter)
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """End a wait, answered or not."""
        waiters = self._waiters.get(waiter.cast_id.bytes)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[waiter.cast_id.bytes]

    @contextmanager
    def stream(self) -> Generator[None]:
        """Count an event stream for as long as it is open."""
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def close(self) -> None:
        """Answer everybody with what is known: the process stops."""
        self._closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.answer(None)

    def hear(self, message: bytes) -> None:
        """Take what a ledger says: a row is handed out where somebody here waits for it; any other is a hint."""
        if message[:CAST_ID_BYTES] in self._waiters and (row := row_in(message, key=self._token_key)) is not None:
            self._hand_out({row.id: row})
        else:
            self.wake(message)

    def wake(self, ids: bytes) -> None:
        """Take a hint: 16-byte ids, one after another, of casts that became final; those of others are passed over."""
        for start in range(0, len(ids) - CAST_ID_BYTES + 1, CAST_ID_BYTES):
            raw = ids[start : start + CAST_ID_BYTES]
            if raw in self._waiters:
                self._due[UUID(bytes=raw)] = None
        self._start_fetch()

    async def listen(self) -> None:
        """Take hints from Redis until the connection breaks. Raises RedisError."""
        await listen(self._redis, keys.wake_channel(), self.hear)

    async def ask(self) -> int:
        """Ask Postgres how far everything waited for is; return how many casts have news. Raises StoreError."""
        ids = [UUID(bytes=raw) for raw in self._waiters]
        news = 0
        for start in range(0, len(ids), IDS_PER_QUESTION_MAX):
            async with statement(self._pool) as connection:
                statuses = await casts_status(connection, ids=ids[start : start + IDS_PER_QUESTION_MAX])
            for cast_id, status in statuses.items():
                if any(waiter.wants(status) for waiter in self._waiters.get(cast_id.bytes, ())):
                    self._due[cast_id] = None
                    news += 1
        self._start_fetch()
        return news

    def _start_fetch(self) -> None:
        if self._due and self._fetch is None:
            self._fetch = asyncio.create_task(self._fetch_due())

    async def _fetch_due(self) -> None:
        """Read what is due until nothing is: one query for all that came due while the last one ran."""
        try:
            while self._due:
                ids = list(self._due)[:ROWS_PER_QUESTION_MAX]
                for cast_id in ids:
                    del self._due[cast_id]
                async with statement(self._pool) as connection:
                    rows = await casts_by_id(connection, ids=ids)
                self._hand_out(rows)
        except Exception as error:  # noqa: BLE001  # the next question, in a quarter of a second, finds them again
            _logger.warning("reading results: %r", error)
        finally:
            self._fetch = None

    def _hand_out(self, rows: Mapping[UUID, CastRow]) -> None:
        for cast_id, row in rows.items():
            for waiter in self._waiters.get(cast_id.bytes, ()):
                if waiter.wants(row.status):
                    waiter.answer(row)
