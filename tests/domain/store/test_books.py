"""Each book is compared by its own rows alone, and what differs is listed in order, up to a number (`make mutants`)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest

from domain.model.ledger import CASH, PROMOTION, REVENUE, UNCOLLECTED, creator_of, payable_of, paying_of, receivable_of
from domain.store import books
from domain.store.books import BOOKS, Compared
from domain.store.connection import Connection, Pool, transaction
from tests.domain.world import World, make_world

NOVEMBER = date(2026, 11, 1)
FROZEN_AT = datetime(2026, 12, 1, 6, tzinfo=UTC)
CENT = 10_000
# So many that no order is one by chance.
CROWD = 12
SHOWN = 5


async def compared(pool: Pool, book: Callable[[Connection], Awaitable[Compared]]) -> Compared:
    async with transaction(pool) as connection:
        # Rows that are merged, or grouped one behind the other, come in order whatever the statement says.
        await connection.execute(b"SET LOCAL enable_mergejoin = off")
        await connection.execute(b"SET LOCAL enable_sort = off")
        return await book(connection)


async def named(pool: Pool, book: Callable[[Connection], Awaitable[Compared]]) -> list[tuple[str, int, int]]:
    """Return fault, what was expected and what is there."""
    return [(row.fault, row.expected, row.found) for row in (await compared(pool, book)).rows]


async def start_run(world: World) -> UUID:
    """Return the run of November."""
    insert = "INSERT INTO billing_runs (id, period, started_at) VALUES (%s, %s, %s) RETURNING id"
    return (await world.rows(insert, uuid4(), NOVEMBER, FROZEN_AT))[0][0]


async def add_invoice(world: World, run_id: UUID, status: str, micros: int) -> UUID:
    """Freeze an invoice of one line; what makes no cent is left over."""
    invoice_id, cents = uuid4(), micros // CENT
    await world.rows(
        "INSERT INTO invoices (id, account_id, run_id, period, frozen_at, usage_micros, carry_in_micros,"
        " carry_out_micros, total_cents, calls, description, status)"
        " VALUES (%s, %s, %s, %s, %s, %s, 0, %s, %s, 2, '', %s)",
        *(invoice_id, world.account_id, run_id, NOVEMBER, FROZEN_AT, micros, micros - cents * CENT, cents, status),
    )
    await world.rows(
        "INSERT INTO invoice_lines (id, invoice_id, account_id, month, spell_id, calls, amount_micros, settled_after,"
        " settled_until) VALUES (%s, %s, %s, %s, %s, 2, %s, %s, %s)",
        *(uuid4(), invoice_id, world.account_id, NOVEMBER, world.spell_id, micros, FROZEN_AT, FROZEN_AT),
    )
    return invoice_id


async def book(
    world: World,
    kind: str,
    debit: str,
    credit: str,
    micros: int,
    *,
    cause: UUID | None = None,
    of: UUID | None = None,
    spell_id: UUID | None = None,
) -> None:
    """Write a transfer of the account that `cause` made, paid out of `of`."""
    await world.rows(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month, source_id,"
        " spell_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        *(uuid4(), cause or uuid4(), kind, debit, credit, micros, world.account_id, NOVEMBER, of, spell_id),
    )


async def take_back(world: World, owed_micros: int, *, reversed_at: datetime | None = None) -> None:
    """Take credits back that were used already: what is owed for them is owed until the money comes again."""
    order_id = uuid4()
    await world.rows(
        "INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros, status,"
        " created_at, granted_at) VALUES (%s, %s, 'checkout', 'starter', 1, 9, 9, 'completed', now(), now())",
        *(order_id, world.account_id),
    )
    await world.rows(
        "INSERT INTO credit_takebacks (id, account_id, order_id, kind, reference, money_micros, credits_micros,"
        " owed_micros, created_at, reversed_at) VALUES (%s, %s, %s, 'dispute', %s, %s, 0, %s, now(), %s)",
        *(uuid4(), world.account_id, order_id, f"du_{order_id}", owed_micros, owed_micros, reversed_at),
    )


async def differ_everywhere(world: World, run_id: UUID) -> None:
    """Have an account whose every book says something else: paid, and the ledger knows nothing of it."""
    await add_invoice(world, run_id, "paid", CENT + 3)
    await book(world, "share_collected", REVENUE, payable_of(world.creator_id), 2 * CENT, of=world.account_id)
    await book(world, "payout_paid", paying_of(world.account_id), CASH, 7)


@pytest.mark.parametrize("compare", BOOKS, ids=lambda compare: compare.__name__)
async def test_what_differs_is_listed_in_order_up_to_a_number(
    database_url: str, pool: Pool, monkeypatch: pytest.MonkeyPatch, compare: Callable[[Connection], Awaitable[Compared]]
) -> None:
    crowd = [await make_world(database_url) for _ in range(CROWD)]
    run_id = await start_run(crowd[0])
    for world in crowd:
        await differ_everywhere(world, run_id)
    every = await compared(pool, compare)
    assert {row.account_id for row in every.rows} == {world.account_id for world in crowd}
    assert every.rows == sorted(every.rows, key=lambda row: (row.account_id, row.subject, row.fault))
    monkeypatch.setattr("domain.store.books.ROWS_SHOWN_MAX", SHOWN)
    assert await compared(pool, compare) == Compared(
        book=every.book, differing=len(every.rows), rows=every.rows[:SHOWN]
    )


async def test_intents_of_payouts_ask_for_no_invoice(world: World, pool: Pool) -> None:
    await world.rows(
        "INSERT INTO outbox (id, account_id, kind, subject_id, frozen, created_at, step, next_attempt_at, status,"
        " finished_at) VALUES (%s, %s, 'payout', %s, '{\"total_cents\": 5}', now(), 'transfer', now(), 'done', now())",
        *(uuid4(), world.account_id, uuid4()),
    )
    assert await named(pool, books.invoices_drift) == []


async def test_an_invoice_is_paid_out_of_cash_and_void_out_of_what_is_given_away(
    world: World, database_url: str, pool: Pool
) -> None:
    other = await make_world(database_url)
    run_id, owed = await start_run(world), receivable_of(world.account_id)
    invoice_id = await add_invoice(world, run_id, "paid", CENT)
    for_nothing = ("invoice_paid", CENT, 0)
    assert await named(pool, books.invoice_transfers_drift) == [for_nothing]
    await book(world, "invoice_paid", PROMOTION, owed, CENT, cause=invoice_id)
    await book(world, "invoice_paid", CASH, receivable_of(other.account_id), CENT, cause=invoice_id)
    # Money that came, and something given away, for another reason.
    await book(world, "dispute_won", CASH, owed, CENT, cause=invoice_id)
    await book(world, "refund_fee", PROMOTION, owed, CENT, cause=invoice_id)
    assert await named(pool, books.invoice_transfers_drift) == [for_nothing]
    await book(world, "invoice_paid", CASH, owed, CENT, cause=invoice_id)
    assert await named(pool, books.invoice_transfers_drift) == []


async def test_an_account_owes_casts_what_was_left_over_and_debts_that_stand(
    world: World, database_url: str, pool: Pool
) -> None:
    other = await make_world(database_url)
    await book(world, "cast_fee", receivable_of(world.account_id), REVENUE, 50, spell_id=world.spell_id)
    await take_back(world, 900)
    await take_back(world, 7_000, reversed_at=FROZEN_AT)
    assert await named(pool, books.receivables_drift) == [("balance_micros", 950, 50)]
    await add_invoice(other, await start_run(other), "paid", CENT + 3)
    await take_back(other, 900)
    found = {row.account_id: (row.expected, row.found) for row in (await compared(pool, books.receivables_drift)).rows}
    assert found == {world.account_id: (950, 50), other.account_id: (903, 0)}


async def test_what_became_payable_is_no_less_for_what_was_paid_out_or_never_was_payable(
    world: World, pool: Pool
) -> None:
    payable, pending, of = payable_of(world.creator_id), creator_of(world.creator_id), world.account_id
    await add_invoice(world, await start_run(world), "paid", CENT)
    await book(world, "share_collected", pending, payable, 2 * CENT, of=of)
    # What the credits of a purchase paid for is in no invoice.
    await book(world, "share_collected", pending, payable, 2 * CENT, of=uuid4())
    await book(world, "share_lost", pending, UNCOLLECTED, 5 * CENT, of=of)
    await book(world, "payout", payable, paying_of(world.creator_id), 2 * CENT, of=of)
    assert await named(pool, books.shares_drift) == [("payable_above_collected", CENT, 2 * CENT)]
    await book(world, "share_returned", payable, UNCOLLECTED, CENT, of=of)
    assert await named(pool, books.shares_drift) == []


async def add_payout(world: World, month: int, cents: int, status: str, *, reversed_cents: int = 0) -> None:
    """Freeze what a creator is paid for a month, as it ended."""
    period = date(2026, month, 1)
    insert = "INSERT INTO payout_runs (id, period, started_at) VALUES (%s, %s, now()) ON CONFLICT DO NOTHING"
    await world.rows(insert, uuid4(), period)
    await world.rows(
        "INSERT INTO payouts (id, account_id, run_id, period, frozen_at, payable_micros, held_back_micros,"
        " amount_cents, stripe_account_id, status, reversed_cents, refused_code, finished_at)"
        " SELECT gen_random_uuid(), %s, id, period, now(), %s, 0, %s, 'acct_1', %s, %s,"
        " CASE %s WHEN 'refused' THEN 'no' END, CASE WHEN %s <> 'pending' THEN now() END"
        " FROM payout_runs WHERE period = %s",
        *(world.account_id, cents * CENT, cents, status, reversed_cents, status, status, period),
    )


async def test_payouts_are_on_their_way_paid_less_what_was_taken_back_or_refused(
    world: World, database_url: str, pool: Pool
) -> None:
    other = await make_world(database_url)
    for one in (world, other):
        await add_payout(one, 9, 7, "paid", reversed_cents=2)
        await add_payout(one, 10, 3, "refused")
        await add_payout(one, 11, 5, "pending")
    payable, paying = payable_of(world.account_id), paying_of(world.account_id)
    for debit, credit, cents in (
        *((payable, paying, 7), (paying, CASH, 7), (CASH, payable, 2)),
        *((payable, paying, 3), (paying, payable, 3), (payable, paying, 5)),
        # Of other money: what a creator earned, and what somebody else paid.
        *((REVENUE, payable, 11), (CASH, receivable_of(world.account_id), 13)),
    ):
        await book(world, "moved", debit, credit, cents * CENT)
    nothing_moved = [("paid_micros", 5 * CENT, 0), ("paying_micros", 5 * CENT, 0)]
    assert await named(pool, books.payouts_drift) == nothing_moved
    assert {row.account_id for row in (await compared(pool, books.payouts_drift)).rows} == {other.account_id}
