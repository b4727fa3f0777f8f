"""Takes events that are due and applies what they are about. No transaction is open while Stripe is asked."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from domain.flow import stripe_inbox as flow
from domain.model.errors import RefusedError
from domain.store import stripe_events as store
from domain.store.connection import BadRowError, Pool, StoreError, transaction
from domain.store.stripe_events import TakenEvent
from gateways.metrics import Counter, Gauge
from gateways.stripe.errors import StripeBusy, StripeFailure, StripeRefused
from scheduler.inbox.flows import Asked, Flow, Shop
from scheduler.inbox.table import FLOWS

log: Final = logging.getLogger("spell.inbox")

# Half of it is for waiting until others of the batch are done, the other half is longer than any look takes.
LEASE: Final = timedelta(minutes=5)
BATCH_MAX: Final = 100
# Stripe takes 100 requests a second of an account, 25 in test mode; each lasts some 200 ms.
AT_ONCE_MAX: Final = 4
# How late a payment shows because nobody tells this process of new events.
POLL_S: Final = 0.5
PAUSE_S: Final = 2.0
MEASURE_S: Final = 10.0
# Two versions of this program run side by side for no longer than that.
REVIVED_WITHIN: Final = timedelta(days=1)
_LAST: Final = "livemostrecent"

APPLIED: Final = Counter("spell_stripe_events_total", "Stripe's events worked on, by result.", ["flow", "result"])
PENDING: Final = Gauge("spell_stripe_events_pending", "Events that wait to be applied.", multiprocess_mode=_LAST)
OVERDUE: Final = Gauge(
    "spell_stripe_events_overdue_seconds", "How long the oldest event has been due.", multiprocess_mode=_LAST
)
PARKED: Final = Gauge(
    "spell_stripe_events_parked",
    "Events that failed too often. Not 0: look at them with `spell inbox`, mend, and have them tried again.",
    multiprocess_mode=_LAST,
)


class Inbox:
    """One worker of the inbox. `run` is its life; `run_once` is one round of it."""

    def __init__(
        self,
        pool: Pool,
        shop: Shop,
        flows: Mapping[str, Flow] = FLOWS,
        *,
        lease: timedelta = LEASE,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._pool: Final = pool
        self._shop: Final = shop
        self._flows: Final = flows
        self._types: Final = sorted(flows)
        self._lease: Final = lease
        self._batch_max: Final = batch_max
        self._places: Final = asyncio.Semaphore(AT_ONCE_MAX)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        clock_s = asyncio.get_running_loop().time
        measured_s = -MEASURE_S
        revived = False
        while not stop.is_set():
            try:
                if not revived:
                    await self.revive()
                    revived = True
                if clock_s() - measured_s >= MEASURE_S:
                    await self.measure()
                    measured_s = clock_s()
                taken = await self.run_once()
            except StoreError as error:
                log.warning("events of Stripe could not be taken; trying again", extra={"reason": str(error)})
                await _wait(stop, PAUSE_S)
                continue
            if taken < self._batch_max:
                await _wait(stop, POLL_S)

    async def run_once(self, now: datetime | None = None) -> int:
        """Take a batch of due events and apply them; return how many were taken. `now` is Postgres' clock if left out.

        Whatever is wrong with one of them holds up no other.
        """
        async with transaction(self._pool) as connection:
            taken = await flow.take(connection, types=self._types, limit=self._batch_max, lease=self._lease, now=now)
        groups: dict[tuple[str, str | None, str | None], list[TakenEvent]] = defaultdict(list)
        for event in taken:
            kind = self._flows[event.type]
            subject_id = event.object_id if kind.about == "object" else event.customer_id
            groups[kind.name, subject_id, event.connected_account_id].append(event)
        async with asyncio.TaskGroup() as tasks:
            for events in groups.values():
                tasks.create_task(self._apply(self._flows[events[0].type], events))
        return len(taken)

    async def measure(self) -> None:
        """Refresh the gauges. Raises StoreError."""
        async with transaction(self._pool) as connection:
            standing = await store.standing_read(connection)
        PENDING.set(standing.pending)
        OVERDUE.set(standing.overdue_s)
        PARKED.set(standing.parked)

    async def revive(self) -> None:
        """Take up what an older version ignored. Raises StoreError."""
        async with transaction(self._pool) as connection:
            await store.events_revive(connection, types=self._types, within=REVIVED_WITHIN)

    async def _apply(self, kind: Flow, events: Sequence[TakenEvent]) -> None:
        """Apply what events of one subject are about, by one look at it."""
        clock_s = asyncio.get_running_loop().time
        taken_s = clock_s()
        async with self._places:
            if clock_s() - taken_s > self._lease.total_seconds() / 2:
                return  # Stripe is so slow that the lease might end meanwhile; then they are due again
            try:
                await self._look_and_write(kind, events)
            except StripeRefused as refusal:
                await self._fail(kind, events, str(refusal), counted=True)
            except StripeFailure as failure:
                trouble = "busy" if isinstance(failure, StripeBusy) else "in doubt"
                await self._fail(kind, events, f"Stripe is {trouble}: {failure}", counted=False)
            except (RefusedError, BadRowError) as error:
                await self._fail(kind, events, f"{type(error).__name__}: {error}", counted=True)
            except StoreError as error:
                await self._fail(kind, events, f"Postgres: {error}", counted=False)
            except Exception as error:  # a fault of ours in one flow must not stop all others
                log.exception("a flow of Stripe's events failed", extra={"flow": kind.name})
                await self._fail(kind, events, f"the platform failed at it: {type(error).__name__}", counted=True)
            else:
                APPLIED.labels(kind.name, "applied").inc(len(events))

    async def _look_and_write(self, kind: Flow, events: Sequence[TakenEvent]) -> None:
        first = events[0]
        subject_id = first.object_id if kind.about == "object" else first.customer_id
        write = None
        if subject_id is not None and kind.is_connected == (first.connected_account_id is not None):
            asked = Asked(
                subject_id=subject_id,
                connected_account_id=first.connected_account_id,
                types=frozenset(event.type for event in events),
                asked_at=first.asked_at,
            )
            write = await kind.look(self._shop, asked)
        async with transaction(self._pool) as connection:
            if write is not None:
                await write(connection)
            await flow.finish(connection, events)

    async def _fail(self, kind: Flow, events: Sequence[TakenEvent], trouble: str, *, counted: bool) -> None:
        """Have them tried again later, or leave them to a person. Where that cannot be written the lease just ends."""
        named = {"flow": kind.name, "events": [event.id for event in events], "reason": trouble}
        try:
            async with transaction(self._pool) as connection:
                now = events[0].asked_at
                parked = await flow.try_later(connection, events, trouble=trouble, counted=counted, now=now)
        except StoreError as error:
            log.warning("events of Stripe failed, and that could not be written", extra={**named, "store": str(error)})
            return
        APPLIED.labels(kind.name, "failed" if counted else "delayed").inc(len(events))
        if parked:
            log.error("events of Stripe were parked", extra={**named, "events": [event.id for event in parked]})
        else:
            log.warning("events of Stripe are tried again later", extra=named)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
