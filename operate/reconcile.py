"""`spell reconcile`: compare the books now, on the operator's database, and show what the last look at Stripe found."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import click
import msgspec
from rich_click import RichCommand

from domain.flow.compare_stripe import SCOPE as STRIPE
from domain.flow.compare_stripe import StripeReport
from domain.flow.reconcile import Reconciliation
from domain.flow.reconcile import reconcile as compare
from domain.store import ops
from domain.store.books import ROWS_SHOWN_MAX
from domain.store.connection import ANY_PLANS, Role, StoreError, open_pool, snapshot
from domain.store.schedule import Drift, clock
from operate.users import database_url
from spell.exits import EXIT_FAILED, CommandError
from spell.screen import Column, print_json, print_rows, say, when

# It reads all there is.
STATEMENT_TIMEOUT_MS: Final = 600_000
# The newest of Stripe's is among them: there is one of each kind a day.
REPORTS_LOOKED_MAX: Final = 30
_COLUMNS: Final = (
    Column(title="book"),
    Column(title="account", importance=1),
    Column(title="row", shrinks=True),
    Column(title="fault"),
    Column(title="expected", right=True),
    Column(title="found", right=True),
)
_Row = tuple[str, str, str, str, str, str]


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What `spell reconcile` prints as JSON."""

    books: Reconciliation
    stripe: StripeReport | None
    """The newest there is; None: Stripe was never compared."""
    stripe_made_at: datetime | None


@click.command(cls=RichCommand)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reconcile(*, as_json: bool) -> int:
    """Compare casts, usage, counters, ledger, credits and invoices with each other. Changes nothing but the reports.

    Works on DATABASE_URL. Stripe is compared by the scheduler, once a day; its newest report is shown. Exit code 1:
    something differs, or Stripe was not compared.
    """
    try:
        found = asyncio.run(_compare(database_url()))
    except StoreError as error:
        message = f"the database did not do it: {error}; run the same command again"
        raise CommandError(message) from error
    if as_json:
        print_json(found)
    else:
        _show(found)
    is_well = found.books.balanced and (found.stripe is None or not _faults(found.stripe))
    return 0 if is_well else EXIT_FAILED


async def _compare(url: str) -> Books:
    async with open_pool(
        url, role=Role.ENGINE, size_max=1, statement_timeout_ms=STATEMENT_TIMEOUT_MS, plans=ANY_PLANS
    ) as pool:
        async with snapshot(pool) as connection:
            books = await compare(connection, now=(await clock(connection)).astimezone(UTC))
        async with snapshot(pool) as connection:
            reports = await ops.reconciliation_latest(connection, limit=REPORTS_LOOKED_MAX)
    newest = next((report for report in reports if report.scope == STRIPE), None)
    return Books(
        books=books,
        stripe=None if newest is None else msgspec.json.decode(newest.report, type=StripeReport),
        stripe_made_at=None if newest is None else newest.made_at,
    )


def _faults(stripe: StripeReport) -> int:
    return sum(stripe.differing.values()) if stripe.compared else 1


def _show(found: Books) -> None:
    rows = [*_own_rows(found.books), *_stripe_rows(found.stripe)]
    print_rows(_COLUMNS, rows, empty="The books are equal.")
    differing = {**found.books.differing, **_named(found.stripe)}
    if any(count > ROWS_SHOWN_MAX for count in differing.values()):
        say(f"There are more: {', '.join(f'{book} {count}' for book, count in differing.items() if count)}")
    if found.stripe is None or found.stripe_made_at is None:
        say("Stripe was not compared yet: the scheduler does it once a day, where there are keys of Stripe.")
    elif not found.stripe.compared:
        say(f"Stripe was not compared {when(found.stripe_made_at)}: {found.stripe.reason}")
    else:
        say(f"Stripe was compared {when(found.stripe_made_at)}: {sum(found.stripe.listed.values())} objects.")


def _named(stripe: StripeReport | None) -> dict[str, int]:
    return {} if stripe is None else {f"stripe_{book}s": count for book, count in stripe.differing.items()}


def _own_rows(books: Reconciliation) -> list[_Row]:
    sums = [
        ("ledger_sum", "-", "all accounts of the ledger", "micros", "0", f"{books.ledger_sum_micros}"),
        ("holds", "-", "held and open holds", "micros", "0", f"{books.holds.drift_micros}"),
    ]
    casts = [
        ("casts", str(one.account_id), f"{one.month:%Y-%m}", fault, f"{expected}", f"{found}")
        for one in books.drifts
        for fault, expected, found in _cast_faults(one)
    ]
    credited = [
        ("credits", str(one.account_id), "balance", fault, f"{one.grants_micros}", f"{found}")
        for one in books.credit_drifts
        for fault, found in (("history_micros", one.history_micros), ("ledger_micros", one.ledger_micros))
        if found != one.grants_micros
    ]
    billed = [
        (book.book, str(row.account_id), row.subject, row.fault, f"{row.expected}", f"{row.found}")
        for book in books.books
        for row in book.rows
    ]
    return [*[row for row in sums if books.differing[row[0]]], *casts, *credited, *billed]


def _cast_faults(drift: Drift) -> list[tuple[str, int, int]]:
    """Return which books say something else of a month than its casts do."""
    said = (
        ("usage_casts", drift.casts, drift.usage_events),
        ("counted_casts", drift.casts, drift.counted_casts),
        ("usage_micros", drift.casts_micros, drift.usage_micros),
        ("counters_micros", drift.casts_micros, drift.counters_micros),
        ("ledger_micros", drift.casts_micros, drift.ledger_micros),
        ("month_micros", drift.casts_micros, drift.month_micros),
    )
    return [(fault, expected, found) for fault, expected, found in said if expected != found]


def _stripe_rows(stripe: StripeReport | None) -> list[_Row]:
    if stripe is None:
        return []
    return [
        (
            f"stripe_{book.book}s",
            str(row.account_id or "-"),
            f"{row.subject} {row.stripe_id}".strip(),
            row.fault,
            row.expected or "-",
            row.found or "-",
        )
        for book in stripe.books
        for row in book.rows
    ]
