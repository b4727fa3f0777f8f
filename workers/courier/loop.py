"""Takes what is due, sends it beside everything else that is in flight, and records what came of it, in batches."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from domain.flow import deliver
from domain.flow.deliver import Outcome
from domain.model.delivery import Delivery, Status
from domain.store import outgoing as store
from domain.store.connection import BadRowError, Pool, StoreError, transaction
from domain.store.outgoing import ClaimLimits
from domain.store.schedule import clock
from gateways.metrics import Counter, Gauge, Histogram
from workers.courier.sender import Sender
from workers.courier.windows import Windows

log: Final = logging.getLogger("spell.courier")

# Longer than any attempt (5 s a webhook, 20 s a mail) and its recording take together.
LEASE: Final = timedelta(seconds=30)
# In flight and not yet recorded; each is a socket and a body.
SLOTS_MAX: Final = 1_024
CLAIM_MAX: Final = 128
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
# An account with ten thousand receivers that hang holds this many places and no more.
ACCOUNT_MAX: Final = 256
# Looked at by one claim, a few milliseconds; the next goes on behind them.
DESTINATIONS_MAX: Final = 1_000
RECORD_MAX: Final = 256
# How late an event may leave because nobody tells a courier of new rows.
POLL_S: Final = 0.2
# Under load, what ends within this is recorded, and what is due claimed, in one transaction.
WINDOW_S: Final = 0.01
PAUSE_S: Final = 0.5
MEASURE_S: Final = 5.0
DUE_COUNTED_MAX: Final = 100_000
# What is in flight ends by itself within its own limits; what Postgres does not take by then comes again by its lease.
STOP_SECONDS_MAX: Final = 25.0

SENT: Final = Counter("spell_outgoing_total", "Attempts to send webhooks and mail, by result.", ["kind", "result"])
DURATION: Final = Histogram(
    "spell_outgoing_seconds",
    "How long an attempt took.",
    ["kind"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 5.5, 10.0, 21.0),
)
DUE: Final = Gauge(
    "spell_outgoing_due", "Rows that are due and wait for a courier.", multiprocess_mode="livemostrecent"
)
FLYING: Final = Gauge("spell_outgoing_in_flight", "Deliveries in flight.", multiprocess_mode="livesum")
DISABLED: Final = Counter("spell_webhooks_disabled_total", "Endpoints given up.", ["reason"])


class Courier:
    """One courier. `run` is its life; `run_once` is one round of it, for tests."""

    def __init__(
        self, pool: Pool, sender: Sender, *, casts_url: str, lease: timedelta = LEASE, slots_max: int = SLOTS_MAX
    ) -> None:
        """`casts_url` is the address all casts are under."""
        self._pool: Final = pool
        self._sender: Final = sender
        self._casts_url: Final = casts_url
        self._lease: Final = lease
        self._slots_max: Final = slots_max
        self._windows: Final = Windows()
        self._flying: Final[dict[asyncio.Task[None], Delivery]] = {}
        self._landed: Final[list[Outcome]] = []
        """Ended and not recorded."""
        self._body_bytes = 0
        self._after = ""
        self._to_record: Final = asyncio.Event()
        self._to_claim: Final = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what is in flight."""
        claiming_ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._record_until(claiming_ended))
            group.create_task(self._measure_until(stop))
            await self._claim_until(stop)
            claiming_ended.set()

    async def run_once(self) -> int:
        """Take what is due, send it, record it; return how many were taken."""
        taken = await self.claim_once()
        if self._flying:
            await asyncio.wait(self._flying)
        while self._landed:
            await self.record_once()
        return taken

    async def _claim_until(self, stop: asyncio.Event) -> None:
        clock_s = asyncio.get_running_loop().time
        while not stop.is_set():
            self._to_claim.clear()
            began_s = clock_s()
            try:
                taken = await self.claim_once()
            except StoreError as error:
                log.warning("nothing could be claimed; trying again", extra={"reason": str(error)})
                taken = 0
                await asyncio.sleep(PAUSE_S)
            # Behind the last destination there is nothing to do until something is recorded or becomes due. With
            # thousands of destinations a claim takes a while; at most half of the time Postgres works on claims.
            if taken or self._after:
                await asyncio.sleep(max(WINDOW_S, clock_s() - began_s))
            else:
                await _wait(self._to_claim, POLL_S)

    async def claim_once(self) -> int:
        """Take what is due as far as there is room, let it fly, and return how many they are."""
        room = min(CLAIM_MAX, self._slots_max - len(self._flying) - len(self._landed))
        if room <= 0 or self._body_bytes >= BODY_BYTES_MAX:
            return 0
        limits = ClaimLimits(
            room=room, account_max=ACCOUNT_MAX, destinations_max=DESTINATIONS_MAX, windows=self._windows.known
        )
        async with transaction(self._pool) as connection:
            taken = await deliver.take(
                connection, limits, lease=self._lease, casts_url=self._casts_url, after=self._after
            )
        if taken is None:
            return 0
        self._after = taken.after or ""
        for delivery in taken.deliveries:
            self._flying[asyncio.create_task(self._fly(delivery))] = delivery
            self._body_bytes += len(delivery.body or b"")
        FLYING.set(len(self._flying))
        return len(taken.deliveries)

    async def _fly(self, delivery: Delivery) -> None:
        task = asyncio.current_task()
        assert task is not None, "a delivery flies in a task of its own"
        try:
            outcome = await self._sender.send(delivery)
            if outcome.answer is not None:
                self._windows.learn(delivery.destination, answered=outcome.answer.status_code is not None)
                DURATION.labels(delivery.kind.value).observe(outcome.duration_ms / 1000)
            self._landed.append(outcome)
        finally:
            del self._flying[task]
            self._body_bytes -= len(delivery.body or b"")
            FLYING.set(len(self._flying))
            self._to_record.set()

    async def _record_until(self, claiming_ended: asyncio.Event) -> None:
        clock_s = asyncio.get_running_loop().time
        patience_ends_s: float | None = None
        while self._flying or self._landed or not claiming_ended.is_set():
            if claiming_ended.is_set():
                patience_ends_s = patience_ends_s or clock_s() + STOP_SECONDS_MAX
                if clock_s() > patience_ends_s:
                    break
            await _wait(self._to_record, POLL_S)
            await asyncio.sleep(WINDOW_S)
            try:
                await self.record_once()
            except StoreError as error:
                log.warning(
                    "deliveries could not be recorded; trying again",
                    extra={"reason": str(error), "deliveries": len(self._landed)},
                )
                await asyncio.sleep(PAUSE_S)
        await self._let_go()

    async def record_once(self) -> int:
        """Record what has ended and return how many they are; what Postgres does not take stays for the next time."""
        self._to_record.clear()
        outcomes = self._landed[:RECORD_MAX]
        if not outcomes:
            return 0
        try:
            await self._record(outcomes)
        except BadRowError:
            for outcome in outcomes:
                await self._record_alone(outcome)
        del self._landed[: len(outcomes)]
        self._to_claim.set()
        if self._landed:
            self._to_record.set()
        return len(outcomes)

    async def _record_alone(self, outcome: Outcome) -> None:
        """Record one whose neighbour, or who itself, holds what Postgres refuses; that one is due again by its lease.

        It counts as a try all the same, so it ends.
        """
        try:
            await self._record([outcome])
        except BadRowError as error:
            log.error(  # noqa: TRY400  # the reason tells it; the traceback is the driver's
                "what came of a delivery is refused by Postgres",
                extra={"outgoing_id": outcome.delivery.id, "reason": str(error)},
            )

    async def _record(self, outcomes: Sequence[Outcome]) -> None:
        async with transaction(self._pool) as connection:
            recorded = await deliver.record(connection, outcomes, now=await clock(connection))
        for kind, status in recorded.results:
            SENT.labels(kind.value, "retried" if status is Status.PENDING else status.value).inc()
        for reason, endpoint_ids in (("gone", recorded.gone), ("failing", recorded.failing)):
            if endpoint_ids:
                async with transaction(self._pool) as connection:
                    now = await clock(connection)
                    disabled = await deliver.give_up(connection, endpoint_ids, reason=reason, now=now)
                DISABLED.labels(reason).inc(disabled)

    async def _let_go(self) -> None:
        """Give back what did not end in time."""
        held = [*self._flying.values(), *(outcome.delivery for outcome in self._landed)]
        if not held:
            return
        flying = list(self._flying)
        for task in flying:
            task.cancel()
        if flying:
            await asyncio.wait(flying)
        try:
            async with transaction(self._pool) as connection:
                await deliver.release(connection, held, now=await clock(connection))
        except StoreError as error:
            log.warning("leases not given back; they end by themselves", extra={"reason": str(error)})

    async def _measure_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with transaction(self._pool) as connection:
                    due = await store.count_due(connection, now=await clock(connection), limit=DUE_COUNTED_MAX)
                DUE.set(due)
            except StoreError as error:
                log.warning("what is due could not be counted", extra={"reason": str(error)})
            await _wait(stop, MEASURE_S)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set or the time is up."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
