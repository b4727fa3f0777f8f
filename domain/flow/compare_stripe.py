"""The steps of comparing our books with Stripe's, around each request to Stripe. Nothing is ever mended here.

A comparison is begun once a day, lists what Stripe has, looks once more at what differs an hour later, and is reported.
Each step may run twice, and goes on where the one before stopped.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from domain.model.stripe_listing import LOOK_BACK, Comparison, Listed, ListedPage, ObjectKind, is_compared, read_on
from domain.store import schedule
from domain.store import stripe_listing as store
from domain.store.connection import Connection
from domain.store.stripe_listing import StripeBook

# In the table of reports.
SCOPE: Final = "stripe"


class StripeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found, or why there was none."""

    compared: bool
    reason: str
    """Why Stripe was not compared."""
    since: datetime
    """What was made at Stripe before that was looked at only where it is not over here."""
    listed: dict[str, int]
    """How many objects of Stripe's were compared, by kind."""
    differing: dict[str, int]
    books: list[StripeBook]


async def begin_comparison(conn: Connection, *, comparison_id: UUID, now: datetime) -> Comparison | None:
    """Return the comparison that is under way, or a new one; None when today's is over. `comparison_id` is fresh."""
    under_way = await store.comparison_open(conn)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if under_way is not None or await store.comparison_begun(conn, since=day):
        return under_way
    fresh = Comparison(
        id=comparison_id,
        started_at=now,
        since=now - LOOK_BACK,
        kind=next(iter(ObjectKind)),
        last_id=None,
        listed_at=None,
    )
    await store.comparison_insert(conn, fresh)
    return await store.comparison_open(conn)


async def keep_page(
    conn: Connection, comparison: Comparison, page: ListedPage, *, now: datetime
) -> tuple[Comparison, bool]:
    """Keep a page, and return where reading goes on, and whether it was this caller who read on."""
    after = read_on(comparison, page, now=now)
    if not await store.comparison_advance(conn, comparison, after):
        return comparison, False
    await store.listed_put(conn, comparison.id, [one for one in page.objects if is_compared(one)])
    return after, True


async def keep_looks(conn: Connection, comparison: Comparison, listed: Sequence[Listed]) -> None:
    """Keep objects that were asked for once more, some of them twice: as the last answer has them."""
    newest = {(one.kind, one.stripe_id): one for one in listed}
    await store.listed_put(conn, comparison.id, list(newest.values()))


async def compare_listed(conn: Connection, comparison: Comparison) -> list[StripeBook]:
    """Return what differs by now, of each kind."""
    return [await store.compared(conn, kind, comparison) for kind in ObjectKind]


async def finish_comparison(conn: Connection, comparison: Comparison, *, now: datetime) -> StripeReport | None:
    """Compare for the last time and keep the report; None when somebody else did. Run it in a `snapshot`."""
    books = await compare_listed(conn, comparison)
    report = StripeReport(
        compared=True,
        reason="",
        since=comparison.since,
        listed=await store.listed_count(conn, comparison.id),
        differing={book.book.value: book.differing for book in books},
        books=books,
    )
    return await _end(conn, comparison, report, now=now)


async def give_up(conn: Connection, comparison: Comparison, *, reason: str, now: datetime) -> StripeReport | None:
    """Report that Stripe was not compared; None when somebody else did."""
    report = StripeReport(compared=False, reason=reason, since=comparison.since, listed={}, differing={}, books=[])
    return await _end(conn, comparison, report, now=now)


async def _end(conn: Connection, comparison: Comparison, report: StripeReport, *, now: datetime) -> StripeReport | None:
    if not await store.comparison_finish(conn, comparison.id, now=now, trouble=report.reason or None):
        return None
    balanced = report.compared and not any(report.differing.values())
    text = msgspec.json.encode(report).decode()
    await schedule.insert_report(conn, scope=SCOPE, balanced=balanced, report=text)
    return report
