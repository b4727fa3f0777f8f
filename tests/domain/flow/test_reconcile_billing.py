"""Invoices, their lines, the ledger and what accounts owe: equal over months of everything, and each drift is named."""

from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from domain.flow.follow_usage_invoice import follow_usage_invoice
from domain.flow.reconcile import Reconciliation, reconcile
from domain.model.stripe_money import Invoice
from domain.store.connection import snapshot, transaction
from tests.domain.billing import Billed, add_customer, open_billed
from tests.domain.credit_books import give
from tests.domain.world import HOLD, make_world

SEPTEMBER, OCTOBER, NOVEMBER = (date(2026, month, 1) for month in (9, 10, 11))
GIGA = 1_000_000_000


@pytest.fixture
async def billed(database_url: str) -> AsyncGenerator[Billed]:
    async with open_billed(database_url, months=[SEPTEMBER, OCTOBER]) as made:
        yield made


def at(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


async def compared(billed: Billed, now: datetime) -> Reconciliation:
    async with snapshot(billed.pool) as connection:
        return await reconcile(connection, now=now)


async def follow(billed: Billed, invoice_id: UUID, status: str) -> None:
    found = Invoice(
        id=f"in_{invoice_id.hex[:14]}", customer_id="cus_1", status=status, total_cents=0, currency="usd",
        is_advancing=True, number=None, hosted_url=None, pdf_url=None, attempts=1, next_payment_attempt_at=None,
        metadata={},
    )  # fmt: skip
    async with transaction(billed.pool) as connection:
        await follow_usage_invoice(connection, invoice_id, found, now=at(12, 2))


async def invoice_of(billed: Billed, period: date) -> UUID:
    return (await billed.world.rows("SELECT id FROM invoices WHERE period = %s", period))[0][0]


async def two_months(billed: Billed) -> None:
    """Carried in September; October with a creator's share, and what came late: a refund, and casts."""
    await billed.cast(at(9, 3), 7, fuel=GIGA)
    assert (await billed.freeze(SEPTEMBER, at(10, 1, 6))).outcome == "carried"
    jobs = await billed.cast(at(10, 2), 250, fuel=GIGA, creator_price_micros=77)
    late = await billed.accept(at(10, 31, 23), 3)
    await billed.cast(at(11, 1, 3), 230, fuel=GIGA)
    assert (await billed.freeze(OCTOBER, at(11, 1, 6))).outcome == "frozen"
    await billed.settle(late, at(11, 1, 7), fuel=GIGA)
    await billed.refund(jobs[0], at(11, 2))


async def months_of_everything(billed: Billed) -> None:
    """These; October is paid, and November has what came late and is open."""
    await two_months(billed)
    await follow(billed, await invoice_of(billed, OCTOBER), "paid")
    assert (await billed.freeze(NOVEMBER, at(12, 1, 6))).outcome == "frozen"
    await billed.cast(at(12, 1, 7), 3, fuel=GIGA)


async def test_what_came_late_does_not_differ_before_it_is_billed(billed: Billed) -> None:
    await two_months(billed)
    assert (await compared(billed, at(11, 2))).balanced


async def test_months_of_everything_do_not_differ(billed: Billed) -> None:
    for now in (at(9, 2), at(12, 2)):
        found = await compared(billed, now)
        assert (found.balanced, found.books[0].rows) == (True, [])
        if now == at(9, 2):
            await months_of_everything(billed)
    assert set(found.differing) == {
        *("casts", "credits", "holds", "ledger_sum"),
        *("invoice_lines", "invoices", "invoice_transfers", "receivables", "shares", "payouts"),
    }
    assert found.months == ["2026-11", "2026-12"]


async def other_account(billed: Billed) -> Billed:
    """Return another account that is billed, whose creator is another as well."""
    world = await make_world(billed.world.database_url, billing="auto")
    url = billed.world.database_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
        await add_customer(owner, world.account_id, f"cus_{world.account_id.hex[:14]}")
    return Billed(world=world, pool=billed.pool)


async def test_accounts_are_compared_each_with_its_own_rows_and_with_what_is_on_a_bill(billed: Billed) -> None:
    """One is billed before what came late of its casts, the other after; the first also used credits."""
    other = await other_account(billed)
    await give(billed.world, billed.pool, 5 * HOLD)
    for one in (billed, other):
        await one.cast(at(10, 2), 250, fuel=GIGA, creator_price_micros=77)
    late = await billed.accept(at(10, 31, 23), 3)
    on_time = await billed.accept(at(10, 31, 23), 2)
    # Settled in the very instant in which the month is frozen.
    await billed.settle(on_time, at(11, 1, 6), fuel=GIGA)
    assert (await billed.freeze(OCTOBER, at(11, 1, 6))).outcome == "frozen"
    await billed.settle(late, at(11, 1, 7), fuel=GIGA)
    assert (await other.freeze(OCTOBER, at(11, 1, 8))).outcome == "frozen"
    assert await billed.world.rows("SELECT balance_micros < granted_micros FROM credit_grants") == [(True,)]
    assert (await compared(billed, at(11, 2))).balanced
    invoices = "SELECT id FROM invoices WHERE account_id = %s"
    for one, status in ((billed, "paid"), (other, "void")):
        await follow(one, (await one.world.rows(invoices, one.world.account_id))[0][0], status)
        assert (await compared(billed, at(11, 2))).balanced


@pytest.mark.parametrize("status", ["uncollectible", "void"])
async def test_what_is_given_up_is_owed_and_what_is_void_is_not(billed: Billed, status: str) -> None:
    await months_of_everything(billed)
    await follow(billed, await invoice_of(billed, NOVEMBER), status)
    assert (await compared(billed, at(12, 2))).balanced


# What somebody does to a table, and the books and faults it is found by.
PLANTED = {
    "a line costs a micro more": (
        "UPDATE invoice_lines SET amount_micros = amount_micros + 1 WHERE month = '2026-10-01' AND calls = 250",
        {("invoice_lines", "micros"), ("invoices", "lines_micros")},
    ),
    "a line is missing": (
        "DELETE FROM invoice_lines WHERE month = '2026-09-01'",
        {
            *(("invoice_lines", "micros"), ("invoice_lines", "calls")),
            *(("invoices", "lines_micros"), ("invoices", "lines_calls")),
        },
    ),
    "a transfer is changed after it was billed": (
        (
            "UPDATE ledger_transfers SET amount_micros = amount_micros + 5"
            " WHERE id = (SELECT id FROM ledger_transfers WHERE kind = 'cast_fee' AND month = '2026-10-01' LIMIT 1)"
        ),
        {("casts", ""), ("invoice_lines", "micros"), ("receivables", "balance_micros")},
    ),
    "what was left over is forgotten": (
        (
            "UPDATE invoices SET carry_in_micros = 0, usage_micros = usage_micros + carry_in_micros"
            " WHERE period = '2026-10-01'"
        ),
        {("invoices", "carry_in_micros"), ("invoices", "lines_micros")},
    ),
    "an invoice has no intent": (
        "DELETE FROM outbox WHERE subject_id = (SELECT id FROM invoices WHERE period = '2026-11-01')",
        {("invoices", "intent_cents"), ("invoices", "items_cents")},
    ),
    "the intent asks for more": (
        (
            "UPDATE outbox SET frozen = (frozen::jsonb || '{\"total_cents\": 99}')::json"
            " WHERE subject_id = (SELECT id FROM invoices WHERE period = '2026-11-01')"
        ),
        {("invoices", "intent_cents")},
    ),
    "an intent without an invoice": (
        (
            "INSERT INTO outbox (id, account_id, kind, subject_id, frozen, created_at, step, next_attempt_at)"
            " SELECT gen_random_uuid(), account_id, kind, gen_random_uuid(), frozen, created_at, step, next_attempt_at"
            " FROM outbox LIMIT 1"
        ),
        {("invoices", "intent_cents"), ("invoices", "items_cents")},
    ),
    "paid and not in the ledger": (
        "DELETE FROM ledger_transfers WHERE kind = 'invoice_paid'",
        {("invoice_transfers", "invoice_paid"), ("receivables", "balance_micros")},
    ),
    "paid twice in the ledger": (
        (
            "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
            " SELECT gen_random_uuid(), batch_id, kind, debit, credit, amount_micros, account_id, month"
            " FROM ledger_transfers WHERE kind = 'invoice_paid'"
        ),
        {("invoice_transfers", "invoice_paid"), ("receivables", "balance_micros")},
    ),
    "open here although the ledger has its money": (
        "UPDATE invoices SET status = 'open', closed_at = NULL WHERE status = 'paid'",
        {
            *(("invoice_transfers", "invoice_paid"), ("receivables", "balance_micros")),
            ("shares", "payable_above_collected"),
        },
    ),
    "more is payable than was paid": (
        "UPDATE ledger_transfers SET amount_micros = 10000000 WHERE kind = 'share_collected'",
        {("shares", "payable_above_collected")},
    ),
    "a payout that took nothing": (
        (
            "WITH run AS (INSERT INTO payout_runs (id, period, started_at)"
            " VALUES (gen_random_uuid(), '2026-10-01', now()) RETURNING id)"
            " INSERT INTO payouts (id, account_id, run_id, period, frozen_at, payable_micros, held_back_micros,"
            " amount_cents, stripe_account_id)"
            " SELECT gen_random_uuid(), b.account_id, run.id, '2026-10-01', now(), 10000, 0, 1, 'acct_1'"
            " FROM run, billing_accounts b"
        ),
        {("payouts", "paying_micros")},
    ),
    "paid out and no payout": (
        (
            "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
            " SELECT gen_random_uuid(), gen_random_uuid(), 'payout_paid', 'paying:' || account_id, 'cash:stripe', 7,"
            " account_id, '2026-10-01' FROM billing_accounts"
        ),
        {("payouts", "paying_micros"), ("payouts", "paid_micros")},
    ),
    "a debt nobody knows of": (
        (
            "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
            " SELECT gen_random_uuid(), gen_random_uuid(), 'refund', debit, 'cash:stripe', 7, account_id, month"
            " FROM ledger_transfers WHERE kind = 'cast_fee' LIMIT 1"
        ),
        {("receivables", "balance_micros")},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_a_difference_is_named_and_nothing_is_mended(billed: Billed, name: str) -> None:
    await months_of_everything(billed)
    statement, expected = PLANTED[name]
    await billed.world.rows(statement)
    # October is looked at as well, or its casts would not be.
    found = await compared(billed, at(11, 2))
    named = {(book.book, row.fault) for book in found.books for row in book.rows}
    assert named | ({("casts", "")} if found.drifts else set()) == expected
    assert {row.account_id for book in found.books for row in book.rows} == {billed.world.account_id}
    assert not found.balanced
    assert (await compared(billed, at(11, 2))).differing == found.differing


async def test_a_debt_of_a_refund_is_owed_beside_the_invoices(billed: Billed) -> None:
    account_id, order_id = billed.world.account_id, uuid4()
    await billed.world.rows(
        "INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros, status,"
        " created_at, granted_at) VALUES (%s, %s, 'checkout', 'starter', 1, 9, 9, 'completed', now(), now())",
        *(order_id, account_id),
    )
    await billed.world.rows(
        "INSERT INTO credit_takebacks (id, account_id, order_id, kind, reference, money_micros, credits_micros,"
        " owed_micros, created_at) VALUES (%s, %s, %s, 'dispute', 'du_1', 9, 0, 9, now())",
        *(order_id, account_id, order_id),
    )
    found = await compared(billed, at(9, 2))
    ((row,),) = [book.rows for book in found.books if book.rows]
    assert (row.subject, row.expected, row.found) == (f"receivable:{account_id}", 9, 0)
    await billed.world.rows(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
        " VALUES (%s, %s, 'dispute', %s, 'cash:stripe', 9, %s, '2026-09-01')",
        *(order_id, order_id, f"receivable:{account_id}", account_id),
    )
    assert (await compared(billed, at(9, 2))).balanced


async def test_a_list_ends_and_says_how_many_there_are(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domain.store.books.ROWS_SHOWN_MAX", 2)
    await months_of_everything(billed)
    await billed.world.rows("UPDATE invoice_lines SET amount_micros = amount_micros + 1, calls = calls + 1")
    (lines, *_) = (await compared(billed, at(12, 2) + timedelta(days=1))).books
    assert (len(lines.rows), lines.differing) == (2, 6)
