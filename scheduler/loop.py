"""The loop: each job's slots come at fixed distances; who inserts a slot's row runs it, whoever else is looking too."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from redis.exceptions import RedisError

from domain.store import schedule as store
from domain.store.connection import StoreError, transaction
from gateways.metrics import Counter
from scheduler import billing, erasures, exports, jobs, payouts
from scheduler import compare_stripe as comparing
from scheduler import credits as credit_jobs
from scheduler import earnings as earning_jobs
from scheduler.jobs import Clockwork

log: Final = logging.getLogger("spell.scheduler")

# How often the clock is looked at: the shortest distance between slots is four of these.
TICK_S: Final = 0.25
# Longer than any run takes, so that no other scheduler begins it a second time meanwhile; twice would do no harm.
LEASE: Final = timedelta(minutes=5)
EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)

RUNS: Final = Counter("spell_scheduled_runs_total", "Runs of a job, by result.", ["job", "result"])


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job and the distance between its slots."""

    name: str
    every: timedelta
    run: Callable[[Clockwork, datetime], Awaitable[str]]

    def slot(self, now: datetime) -> datetime:
        """Return the beginning of the slot that holds `now`; slots are counted from EPOCH."""
        return EPOCH + (now - EPOCH) // self.every * self.every


JOBS: Final[Sequence[Job]] = (
    Job(name="resend", every=timedelta(seconds=1), run=jobs.resend),
    Job(name="expire", every=timedelta(seconds=10), run=jobs.expire),
    Job(name="measure", every=timedelta(seconds=5), run=jobs.measure),
    Job(name="suspend-crashing", every=timedelta(minutes=1), run=jobs.suspend_crashing),
    Job(name="retention", every=timedelta(minutes=1), run=jobs.retention),
    Job(name="trim-outgoing", every=timedelta(minutes=1), run=jobs.trim_outgoing),
    Job(name="expire-credits", every=timedelta(minutes=1), run=credit_jobs.expire),
    Job(name="look-at-orders", every=timedelta(hours=1), run=credit_jobs.look_at_orders),
    Job(name="collect-shares", every=timedelta(hours=1), run=earning_jobs.collect),
    Job(name="top-up", every=timedelta(seconds=5), run=credit_jobs.top_up),
    Job(name="exports", every=timedelta(seconds=5), run=exports.make_exports),
    Job(name="erase", every=timedelta(seconds=5), run=erasures.erase),
    Job(name="drop-exports", every=timedelta(minutes=1), run=exports.drop_exports),
    Job(name="billing", every=timedelta(seconds=2), run=billing.bill),
    Job(name="payouts", every=timedelta(seconds=5), run=payouts.pay_out),
    Job(name="partitions", every=timedelta(hours=1), run=jobs.partitions),
    Job(name="end-graces", every=timedelta(seconds=10), run=jobs.end_graces),
    Job(name="trim-stripe-events", every=timedelta(hours=1), run=jobs.trim_stripe_events),
    Job(name="trim", every=timedelta(hours=1), run=jobs.trim),
    Job(name="reconcile", every=timedelta(days=1), run=jobs.reconcile),
    Job(name="compare-stripe", every=timedelta(minutes=1), run=comparing.compare_stripe),
)


class Scheduler:
    """Runs due slots. Several schedulers may run; each slot is run by one of them."""

    def __init__(self, clockwork: Clockwork, table: Sequence[Job] = JOBS, *, lease: timedelta = LEASE) -> None:
        self._clockwork: Final = clockwork
        self._table: Final = table
        self._lease: Final = lease
        self._look_at: Final[dict[str, float]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; each job has its own task, so a slow one delays no other."""
        async with asyncio.TaskGroup() as group:
            for job in self._table:
                group.create_task(self._run_job(job, stop))

    async def _run_job(self, job: Job, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.run_once(job)
            except (StoreError, RedisError, OSError) as error:
                RUNS.labels(job.name, "failed").inc()
                log.warning("%s failed; it is tried again", job.name, extra={"reason": str(error)})
            await asyncio.sleep(TICK_S)

    async def run_once(self, job: Job, now: datetime | None = None) -> int:
        """Run the job's current slot if nobody has; `now` is Postgres' clock unless given. Returns 1 when it ran.

        A run that failed, here or elsewhere, is made again after the lease: reconciliation is not lost for a day
        because Postgres was away for a second.
        """
        if now is None and time.monotonic() < self._look_at.get(job.name, 0.0):
            return 0
        async with transaction(self._clockwork.pool) as connection:
            if now is None:
                now = await store.clock(connection)
            slot = job.slot(now)
            rest = slot + job.every - now
            claimed = await store.claim_slot(connection, job.name, slot, lease=self._lease)
        self._look_again_in(job, min(rest, self._lease))
        if not claimed:
            return 0
        result = await job.run(self._clockwork, now)
        async with transaction(self._clockwork.pool) as connection:
            await store.finish_slot(connection, job.name, slot, result)
        RUNS.labels(job.name, "done").inc()
        log.debug("%s: %s", job.name, result)
        return 1

    def _look_again_in(self, job: Job, pause: timedelta) -> None:
        """Leave the job alone meanwhile: an idle platform asks Postgres once a slot, not four times a second."""
        self._look_at[job.name] = time.monotonic() + pause.total_seconds()
