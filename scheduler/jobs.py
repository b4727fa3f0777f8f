"""What the clock does, one function a job. Each may run twice, and a run that dies is made up for by the next slot."""

import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from redis.asyncio import Redis

from domain.flow import drop_data as dropping
from domain.flow import expire as expiring
from domain.flow import resend as resending
from domain.flow.follow_stripe import end_grace, graces_over
from domain.flow.reconcile import reconcile as compare
from domain.flow.suspend_spells import suspend_spells
from domain.model.audit import PLATFORM
from domain.model.messages import Pool as WorkerPool
from domain.model.periods import month_of
from domain.price_settings import CREDIT_MICROS_DEFAULT
from domain.store import outgoing, stripe_events
from domain.store import schedule as store
from domain.store.connection import Pool, snapshot, transaction
from gateways.metrics import Counter, Gauge
from gateways.stripe.client import StripeGateway
from workers.broker import wire

log: Final = logging.getLogger("spell.scheduler")

# The next three months exist before anybody needs them: a month of warnings before the first failure.
PARTITION_MONTHS: Final = 4
# Entries, of 64 reports at most: with less than this waiting, every report that was sent has been settled or is being,
# or will be within a fifth of a second.
USAGE_CURRENT_MAX: Final = 32
# A module that kills five sandboxes in ten minutes is broken or hostile; a person decides which.
CRASHES_MAX: Final = 5
CRASHES_WITHIN: Final = timedelta(minutes=10)
SLOTS_KEPT: Final = timedelta(days=2)
# Stripe sends an event again for three days, and a person can have it sent again for thirty.
STRIPE_EVENTS_KEPT: Final = timedelta(days=60)
# Replays are promised for 24 hours; twice that forgives a client's clock.
IDEMPOTENCY_KEPT: Final = timedelta(hours=48)
TRIM_AT_ONCE_MAX: Final = 5_000
# Ten times as long as a delivery is tried: time to find out what a receiver missed, and to have it sent again.
OUTGOING_KEPT: Final = timedelta(days=30)
# Times TRIM_AT_ONCE_MAX, a minute: more events than there are casts, and less than a slot's lease takes.
OUTGOING_PIECES_MAX: Final = 20
# Times DROP_AT_ONCE_MAX, a minute: more casts than one Postgres accepts, and less than a slot's lease takes.
DROP_PIECES_MAX: Final = 400

# Several schedulers take turns: the last look is the true one.
_LAST: Final = "livemostrecent"
RESENT: Final = Counter("spell_casts_resent_total", "Casts put on the wire again because Redis did not have them.")
EXPIRED: Final = Counter("spell_casts_expired_total", "Casts ended because their deadline had long passed.")
DROPPED: Final = Counter("spell_casts_data_dropped_total", "Casts whose input, output and log expired.")
SUSPENDED: Final = Counter("spell_spells_suspended_total", "Spells suspended because they keep killing sandboxes.")
HELD: Final = Gauge("spell_open_holds_micros", "Money held by open casts.", multiprocess_mode=_LAST)
OPEN: Final = Gauge("spell_open_casts", "Casts that are queued or running.", multiprocess_mode=_LAST)
DRIFT: Final = Gauge(
    "spell_holds_drift_micros",
    "Held by windows and months minus held by open casts. Not 0: alarm.",
    multiprocess_mode=_LAST,
)
UNBALANCED: Final = Gauge(
    "spell_books_unbalanced", "1 when the last reconciliation found a difference.", multiprocess_mode=_LAST
)
DRIFT_ROWS: Final = Gauge(
    "spell_books_differing_rows",
    "Rows that differ between books, by book, at the last comparison. Not 0: alarm; docs/reconciliation.md.",
    ["book"],
    multiprocess_mode=_LAST,
)
QUEUE: Final = Gauge("spell_queue_depth", "Casts on the wire.", ["pool"], multiprocess_mode=_LAST)
USAGE: Final = Gauge(
    "spell_usage_stream_length", "Entries of the usage stream, not settled yet.", ["pool"], multiprocess_mode=_LAST
)


class Clockwork:
    """What the jobs work with."""

    def __init__(
        self,
        *,
        pool: Pool,
        slow_pool: Pool,
        redis: Redis,
        token_key: bytes,
        billing: bool = False,
        stripe: StripeGateway | None = None,
        credit_micros: int = CREDIT_MICROS_DEFAULT,
    ) -> None:
        self.pool: Final = pool
        self.slow_pool: Final = slow_pool
        """Sessions whose statements may take a minute: reconciliation reads a month."""
        self.redis: Final = redis
        self.token_key: Final = token_key
        self.billing: Final = billing
        """Whether there are keys of Stripe: without them nobody is billed."""
        self.stripe: Final = stripe
        """For the one job that asks Stripe; None where there are no keys."""
        self.credit_micros: Final = credit_micros


async def resend(clockwork: Clockwork, now: datetime) -> str:
    """Put casts on the wire that should be there and are not, and the signs of those that are to be stopped."""
    sent = 0
    for pool in WorkerPool:
        after: UUID = resending.FIRST
        while True:
            async with transaction(clockwork.pool) as connection:
                meant = await resending.meant_for_wire(connection, pool, now=now, after=after)
            if not meant.cast_ids:
                break
            after = meant.cast_ids[-1]
            await wire.request_cancel(clockwork.redis, pool.value, meant.stopping)
            sent += await _resend_missing(clockwork, pool, meant.cast_ids)
    RESENT.inc(sent)
    return f"{sent} casts resent"


async def _resend_missing(clockwork: Clockwork, pool: WorkerPool, meant: list[UUID]) -> int:
    missing = await wire.missing(clockwork.redis, pool.value, meant)
    if not missing:
        return 0
    async with transaction(clockwork.pool) as connection:
        jobs = await resending.jobs(connection, missing, token_key=clockwork.token_key)
    return await wire.put(clockwork.redis, pool.value, jobs)


async def expire(clockwork: Clockwork, now: datetime) -> str:
    """End casts long past their deadline, but only while every report that was sent has been settled."""
    for pool in WorkerPool:
        state = await wire.wire_state(clockwork.redis, pool.value)
        if state.usage_length > USAGE_CURRENT_MAX:
            return f"not now: the ledger has {state.usage_length} entries of pool {pool.value} to settle"
    async with transaction(clockwork.pool) as connection:
        closed = await expiring.expire(connection, now=now, batch_id=uuid4(), token_key=clockwork.token_key)
    for pool in WorkerPool:
        await wire.put(clockwork.redis, pool.value, [job for freed, job in closed.freed if freed is pool])
        gone = [ending.cast.id for ending in closed.endings if ending.cast.pool is pool]
        await wire.remove(clockwork.redis, pool.value, gone)
    EXPIRED.inc(len(closed.endings))
    return f"{len(closed.endings)} casts expired"


async def partitions(clockwork: Clockwork, now: datetime) -> str:
    """Make the partitions of the coming months."""
    async with transaction(clockwork.slow_pool) as connection:
        made = await store.ensure_partitions(connection, first_month=month_of(now), months=PARTITION_MONTHS)
    return f"{made} partitions made"


async def suspend_crashing(clockwork: Clockwork, now: datetime) -> str:
    """Suspend spells that keep killing their sandboxes."""
    async with transaction(clockwork.pool) as connection:
        crashing = await store.crashing(connection, since=now - CRASHES_WITHIN, crashes=CRASHES_MAX)
        spells = await suspend_spells(
            connection, crashing, reason="its casts keep killing their sandboxes", actor=PLATFORM
        )
    for spell in spells:
        log.error("spell suspended: its casts keep killing their sandboxes", extra={"spell_id": spell.spell_id})
    SUSPENDED.inc(len(spells))
    return f"{len(spells)} spells suspended"


async def reconcile(clockwork: Clockwork, now: datetime) -> str:
    """Compare the books; a difference is an alarm, never mended."""
    async with snapshot(clockwork.slow_pool) as connection:
        found = await compare(connection, now=now)
    UNBALANCED.set(not found.balanced)
    for book, rows in found.differing.items():
        DRIFT_ROWS.labels(book).set(rows)
    if found.balanced:
        return "balanced"
    log.error("the books differ", extra={"rows": found.differing, "ledger_sum": found.ledger_sum_micros})
    return f"{sum(found.differing.values())} rows differ"


async def measure(clockwork: Clockwork, _now: datetime) -> str:
    """Refresh the gauges that need a look at Postgres or Redis."""
    async with transaction(clockwork.slow_pool) as connection:
        holds = await store.holds(connection)
    HELD.set(holds.casts_micros)
    OPEN.set(holds.casts_open)
    DRIFT.set(holds.drift_micros)
    if holds.drift_micros:
        log.error("held and open holds differ", extra={"drift_micros": holds.drift_micros})
    for pool in WorkerPool:
        state = await wire.wire_state(clockwork.redis, pool.value)
        QUEUE.labels(pool.value).set(state.casts_open)
        USAGE.labels(pool.value).set(state.usage_length)
    return f"{holds.casts_open} casts open"


async def trim(clockwork: Clockwork, now: datetime) -> str:
    """Delete old slots and idempotency keys, in pieces."""
    async with transaction(clockwork.pool) as connection:
        slots = await store.trim_slots(connection, before=now - SLOTS_KEPT)
    keys = 0
    while True:
        async with transaction(clockwork.pool) as connection:
            gone = await store.trim_idempotency(connection, before=now - IDEMPOTENCY_KEPT, limit=TRIM_AT_ONCE_MAX)
        keys += gone
        if gone < TRIM_AT_ONCE_MAX:
            return f"{slots} slots and {keys} idempotency keys deleted"


async def trim_stripe_events(clockwork: Clockwork, now: datetime) -> str:
    """Delete events of Stripe that were done with long ago, in pieces."""
    gone = 0
    while True:
        async with transaction(clockwork.pool) as connection:
            trimmed = await stripe_events.events_trim(
                connection, before=now - STRIPE_EVENTS_KEPT, limit=TRIM_AT_ONCE_MAX
            )
        gone += trimmed
        if trimmed < TRIM_AT_ONCE_MAX:
            return f"{gone} events of Stripe deleted"


async def end_graces(clockwork: Clockwork, now: datetime) -> str:
    """Accept no more metered casts of accounts that did not make up for a failed payment in time."""
    async with transaction(clockwork.pool) as connection:
        accounts = await graces_over(connection, now=now)
    ended = 0
    for account_id in accounts:
        async with transaction(clockwork.pool) as connection:
            ended += await end_grace(connection, account_id=account_id, now=now)
    return f"{ended} graces over"


async def trim_outgoing(clockwork: Clockwork, now: datetime) -> str:
    """Delete what was sent, given up or canceled long ago, with its attempts, in pieces."""
    gone = 0
    for _ in range(OUTGOING_PIECES_MAX):
        async with transaction(clockwork.slow_pool) as connection:
            trimmed = await outgoing.trim_finished(connection, before=now - OUTGOING_KEPT, limit=TRIM_AT_ONCE_MAX)
        gone += trimmed
        if trimmed < TRIM_AT_ONCE_MAX:
            break
    return f"{gone} deliveries deleted"


async def retention(clockwork: Clockwork, now: datetime) -> str:
    """Empty the input, output and log of casts whose data has expired, in pieces; the rows stay."""
    dropped = 0
    for _ in range(DROP_PIECES_MAX):
        async with transaction(clockwork.pool) as connection:
            gone = await dropping.drop_expired(connection, now=now)
        dropped += gone
        DROPPED.inc(gone)
        if not gone:
            break
    return f"data of {dropped} casts dropped"
