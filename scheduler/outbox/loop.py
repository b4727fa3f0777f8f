"""Takes due rows and moves each as far as it goes. No transaction is open while Stripe is asked."""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from domain.flow import outbox as flow
from domain.model.outbox import TROUBLED_ATTEMPTS, Done, OutboxKind, OutboxRow, Trouble
from domain.store import outbox as store
from domain.store.connection import Pool, StoreError, transaction
from domain.store.schedule import clock
from gateways.metrics import Counter, Gauge
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeBusy, StripeFailure, StripeRefused, StripeUnknown
from scheduler.outbox.kinds import KINDS
from scheduler.outbox.steps import MoneyKind, StepError

log: Final = logging.getLogger("spell.outbox")

# Longer than any step: a look and a request, 20 s each at most, and their recording. It is renewed with each step.
LEASE: Final = timedelta(seconds=90)
# Requests to Stripe at a time; it takes 100 a second of an account, 25 in test mode, and each lasts some 200 ms.
AT_ONCE_MAX: Final = 8
# An invoice of a year of late usage has some 15 steps; a row that goes on beyond this goes round in a circle.
STEPS_MAX: Final = 100
# How late money leaves because nobody tells this process of new rows.
POLL_S: Final = 0.5
MEASURE_S: Final = 10.0
_LAST: Final = "livemostrecent"

STEPS: Final = Counter("spell_outbox_steps_total", "Steps of outgoing money, by result.", ["kind", "step", "result"])
PENDING: Final = Gauge("spell_outbox_pending", "Outgoing money on its way to Stripe.", multiprocess_mode=_LAST)
TROUBLED: Final = Gauge(
    "spell_outbox_troubled", "Outgoing money that Stripe refuses or does not answer. Not 0: look into the log.",
    multiprocess_mode=_LAST,
)  # fmt: skip


class Outbox:
    """One worker of the outbox; `run_once` is one round of it."""

    def __init__(
        self,
        pool: Pool,
        stripe: StripeGateway,
        kinds: Mapping[OutboxKind, MoneyKind] = KINDS,
        *,
        lease: timedelta = LEASE,
        at_once_max: int = AT_ONCE_MAX,
    ) -> None:
        self._pool: Final = pool
        self._stripe: Final = stripe
        self._kinds: Final = kinds
        self._lease: Final = lease
        self._at_once_max: Final = at_once_max

    async def run_once(self, now: datetime) -> int:
        """Move what is due at `now` as far as it goes; return how many rows were taken."""
        async with transaction(self._pool) as connection:
            rows = await flow.claim(connection, now=now, lease=self._lease, limit=self._at_once_max)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(self._drive(row, now, began))
        return len(rows)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. What is under way then ends by itself, or is found by the next."""
        clock_s = asyncio.get_running_loop().time
        measured_s = -MEASURE_S
        while not stop.is_set():
            try:
                if clock_s() - measured_s >= MEASURE_S:
                    await self.measure()
                    measured_s = clock_s()
                async with transaction(self._pool) as connection:
                    now = await clock(connection)
                taken = await self.run_once(now)
            except StoreError as error:
                log.warning("outgoing money could not be taken; trying again", extra={"reason": str(error)})
                taken = 0
            if taken < self._at_once_max:
                await _wait(stop, POLL_S)

    async def measure(self) -> None:
        """Refresh the gauges."""
        async with transaction(self._pool) as connection:
            standing = await store.standing_read(connection, troubled_attempts=TROUBLED_ATTEMPTS)
        PENDING.set(standing.pending)
        TROUBLED.set(standing.troubled)

    async def _drive(self, row: OutboxRow, now: datetime, began: float) -> None:
        """Take a row through its steps until it ends, gets into trouble, or is somebody else's."""
        kind = self._kinds[row.kind]
        at: OutboxRow | None = row
        for _ in range(STEPS_MAX):
            if at is None:
                return
            instant = now + timedelta(seconds=time.monotonic() - began)
            try:
                at = await self._step(kind, at, instant)
            except StoreError as error:
                # The lease ends by itself, and whoever has the row then finds what was done.
                log.warning("a step of outgoing money could not be recorded", extra=_named(at, str(error)))
                return

    async def _step(self, kind: MoneyKind, row: OutboxRow, now: datetime) -> OutboxRow | None:
        """Make one step; return the row as it goes on, None when there is nothing to go on with here."""
        step = kind.step_of(row)
        try:
            done = None
            if step.look is not None and row.key_is_spent(now):
                done = await step.look(self._stripe, row)
                if done is None:
                    return await self._raise_epoch(row, now)
            if done is None:
                done = await step.send(self._stripe, row)
        except StripeRefused as refusal:
            done = kind.refused(row, refusal)
            if done is None:
                return await self._trouble(kind, row, Trouble(reason=str(refusal), blocks=True), now)
        except (StripeFailure, StepError) as failure:
            return await self._trouble(kind, row, _trouble_of(failure), now)
        except Exception:  # a fault of ours in one row must not stop the money of everybody else
            log.exception("a step of outgoing money failed here", extra=_named(row, "see the traceback"))
            return await self._trouble(
                kind, row, Trouble(reason="the platform failed at it; see its log", blocks=True), now
            )
        return await self._record(kind, row, done, now)

    async def _record(self, kind: MoneyKind, row: OutboxRow, done: Done, now: datetime) -> OutboxRow | None:
        STEPS.labels(row.kind.value, row.step.partition("-")[0], "done").inc()
        async with transaction(self._pool) as connection:
            if done.next is not None:
                return await flow.advance(connection, row, done, now=now, lease=self._lease)
            finished = await flow.finish(connection, row, done, kind.apply, now=now)
        if finished:
            kind.tell_end(row)
        return None

    async def _raise_epoch(self, row: OutboxRow, now: datetime) -> OutboxRow | None:
        async with transaction(self._pool) as connection:
            return await flow.raise_epoch(connection, row, now=now, lease=self._lease)

    async def _trouble(self, kind: MoneyKind, row: OutboxRow, trouble: Trouble, now: datetime) -> None:
        STEPS.labels(row.kind.value, row.step.partition("-")[0], "blocked" if trouble.blocks else "retried").inc()
        is_serious = trouble.blocks or row.attempts >= TROUBLED_ATTEMPTS
        log.log(
            logging.ERROR if is_serious else logging.WARNING,
            "outgoing money is held up", extra=_named(row, trouble.reason),
        )  # fmt: skip
        if is_serious:
            kind.tell_trouble(row, trouble.reason)
        async with transaction(self._pool) as connection:
            await flow.note_trouble(connection, row, trouble, now=now)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _trouble_of(failure: StripeFailure | StepError) -> Trouble:
    if isinstance(failure, StripeBusy):
        return Trouble(reason=str(failure), retry_after_s=failure.retry_after_s)
    if isinstance(failure, StripeUnknown):
        return Trouble(reason=str(failure), spends_key=failure.is_replayed)
    return Trouble(reason=str(failure), blocks=True)


def _named(row: OutboxRow, reason: str) -> dict[str, object]:
    return {
        "outbox_id": row.id,
        "kind": row.kind.value,
        "step": row.step,
        "epoch": row.epoch,
        "subject_id": row.subject_id,
        "account_id": row.account_id,
        "reason": reason,
    }
