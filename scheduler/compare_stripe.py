"""Compare our books with Stripe's: once a day, in small pieces, with no transaction open while Stripe is asked."""

import logging
from datetime import datetime
from typing import Final
from uuid import uuid4

from domain.flow import compare_stripe as flow
from domain.model.outbox import storable_trouble
from domain.model.stripe_listing import GIVE_UP_AFTER, LOOK_AGAIN_AFTER, Comparison, Listed, ObjectKind
from domain.store import stripe_listing as store
from domain.store.connection import snapshot, transaction
from domain.store.stripe_listing import StripeDifference
from gateways.metrics import Gauge
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeFailure
from scheduler.jobs import DRIFT_ROWS, Clockwork

log: Final = logging.getLogger("spell.scheduler")

# Of 100 objects each, one after the other in a minute: a tenth of what Stripe takes, and 200,000 invoices in an hour.
PAGES_PER_RUN_MAX: Final = 40
_LAST: Final = "livemostrecent"

UNCOMPARED: Final = Gauge(
    "spell_stripe_uncompared",
    "1 while Stripe cannot be compared with our books. For hours: alarm; docs/reconciliation.md.",
    multiprocess_mode=_LAST,
)


async def compare_stripe(clockwork: Clockwork, now: datetime) -> str:
    """Do a piece of today's comparison. That Stripe is away fails nothing: it is told, and tried again."""
    if clockwork.stripe is None:
        return "billing is off: no keys of Stripe"
    async with transaction(clockwork.pool) as connection:
        comparison = await flow.begin_comparison(connection, comparison_id=uuid4(), now=now)
    if comparison is None:
        return "compared today"
    try:
        return await _go_on(clockwork, clockwork.stripe, comparison, now)
    except StripeFailure as failure:
        return await _note(clockwork, comparison, str(failure), now)


async def _go_on(clockwork: Clockwork, stripe: StripeGateway, comparison: Comparison, now: datetime) -> str:
    if comparison.listed_at is None:
        return await _list(clockwork, stripe, comparison, now)
    if now < comparison.listed_at + LOOK_AGAIN_AFTER:
        return "listed; what differs is looked at once more in an hour"
    return await _look_and_report(clockwork, stripe, comparison, now)


async def _list(clockwork: Clockwork, stripe: StripeGateway, comparison: Comparison, now: datetime) -> str:
    """Read some pages; what was kept before is not read again."""
    at = comparison
    for number in range(PAGES_PER_RUN_MAX):
        page = await stripe.listing.page(at.kind, since=at.since, after=at.last_id)
        async with transaction(clockwork.pool) as connection:
            at, was_kept = await flow.keep_page(connection, at, page, now=now)
        if not was_kept:
            return "somebody else goes on with it"
        if at.listed_at is not None:
            return f"{number + 1} pages read, listed"
    return f"{PAGES_PER_RUN_MAX} pages read"


async def _look_and_report(clockwork: Clockwork, stripe: StripeGateway, comparison: Comparison, now: datetime) -> str:
    """Ask once more for each object that differs, which may be news of the last hour, and report what still does."""
    async with snapshot(clockwork.slow_pool) as connection:
        books = await flow.compare_listed(connection, comparison)
    seen = [listed for book in books for row in book.rows for listed in await _look(stripe, book.book, row)]
    async with transaction(clockwork.pool) as connection:
        await flow.keep_looks(connection, comparison, seen)
    async with snapshot(clockwork.slow_pool) as connection:
        report = await flow.finish_comparison(connection, comparison, now=now)
    if report is None:
        return "somebody else reported it"
    UNCOMPARED.set(0)
    for book, rows in report.differing.items():
        DRIFT_ROWS.labels(f"stripe_{book}s").set(rows)
    if any(report.differing.values()):
        log.error("our books differ from Stripe's", extra={"rows": report.differing})
    return f"{sum(report.listed.values())} objects compared, {sum(report.differing.values())} rows differ"


async def _look(stripe: StripeGateway, kind: ObjectKind, row: StripeDifference) -> list[Listed]:
    """Return what a difference is about as Stripe has it now."""
    if row.fault == "refunded_differs":
        return await stripe.listing.refunds_of(row.stripe_id)
    found = await stripe.listing.one(kind, row.stripe_id)
    return [] if found is None else [found]


async def _note(clockwork: Clockwork, comparison: Comparison, trouble: str, now: datetime) -> str:
    UNCOMPARED.set(1)
    log.warning("Stripe cannot be compared", extra={"reason": trouble})
    reason = storable_trouble(trouble)
    async with transaction(clockwork.pool) as connection:
        if now - comparison.started_at < GIVE_UP_AFTER:
            await store.comparison_trouble(connection, comparison.id, trouble=reason)
            return f"Stripe not compared yet: {reason}"
        await flow.give_up(connection, comparison, reason=reason, now=now)
    log.error("Stripe was not compared today", extra={"reason": trouble})
    return f"Stripe not compared: {reason}"
