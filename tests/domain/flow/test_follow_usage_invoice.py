"""What becomes of an invoice at Stripe, told in any order and more than once, is booked once."""

from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.follow_usage_invoice import follow_usage_invoice
from domain.flow.open_invoice import open_invoice
from domain.model.outbox import Finished, OutboxStatus
from domain.model.stripe_money import Invoice
from domain.store.connection import transaction
from tests.domain.billing import Billed, open_billed
from tests.domain.invariants import broken

OCTOBER = date(2026, 10, 1)
SIX = datetime(2026, 11, 1, 6, tzinfo=UTC)
GIGA = 1_000_000_000


@pytest.fixture
async def billed(database_url: str) -> AsyncGenerator[Billed]:
    async with open_billed(database_url, months=[OCTOBER]) as opened:
        await opened.world.rows(
            "INSERT INTO users (id, account_id, email) VALUES (%s, %s, 'ada@example.org')",
            *(uuid4(), opened.world.account_id),
        )
        await opened.cast(datetime(2026, 10, 5, tzinfo=UTC), 300, fuel=GIGA)
        assert (await opened.freeze(OCTOBER, SIX)).outcome == "frozen"
        yield opened


async def invoice_id_of(billed: Billed) -> UUID:
    return (await billed.world.rows("SELECT id FROM invoices"))[0][0]


def at_stripe(status: str) -> Invoice:
    return Invoice(
        id="in_1", customer_id="cus_1", status=status, total_cents=75, currency="usd", is_advancing=True,
        number="S-1", hosted_url="https://invoice.example/i", pdf_url="https://invoice.example/p", attempts=1,
        next_payment_attempt_at=None, metadata={},
    )  # fmt: skip


async def follow(billed: Billed, status: str, invoice_id: UUID | None = None) -> bool:
    invoice_id = invoice_id or await invoice_id_of(billed)
    async with transaction(billed.pool) as connection:
        return await follow_usage_invoice(connection, invoice_id, at_stripe(status), now=SIX)


async def finalized(billed: Billed) -> None:
    """The outbox hears that it is finalized."""
    invoice_id = await invoice_id_of(billed)
    finished = Finished(
        id=invoice_id, account_id=billed.world.account_id, subject_id=invoice_id, frozen=msgspec.Raw(b"{}"),
        known={"invoice_id": "in_1", "number": "S-1", "hosted_url": "https://invoice.example/i"},
        status=OutboxStatus.DONE,
    )  # fmt: skip
    async with transaction(billed.pool) as connection:
        await open_invoice(connection, finished, SIX + timedelta(seconds=1))


async def booked(billed: Billed) -> list[tuple]:
    return await billed.world.rows(
        "SELECT kind, debit, credit = %s, amount_micros FROM ledger_transfers WHERE spell_id IS NULL",
        f"receivable:{billed.world.account_id}",
    )


async def status(billed: Billed) -> tuple:
    return (await billed.world.rows("SELECT status, stripe_invoice_id, closed_at FROM invoices"))[0]


async def mails(billed: Billed) -> list[tuple]:
    return await billed.world.rows(
        "SELECT event_type, payload::json ->> 'subject' FROM outgoing WHERE kind = 'mail' ORDER BY created_at"
    )


PAID = [("invoice_paid", "cash:stripe", True, 750_000)]
TOLD = [("invoice.finalized", "Your invoice for October 2026: $0.75")]


async def test_in_whatever_order_it_is_told_it_is_paid_once_and_told_once(billed: Billed) -> None:
    await finalized(billed)
    assert await status(billed) == ("open", "in_1", None)
    assert await mails(billed) == TOLD
    assert await follow(billed, "paid")
    assert not await follow(billed, "paid")
    assert not await follow(billed, "open")
    assert not await follow(billed, "void"), "what is paid stays paid"
    await finalized(billed)
    assert await status(billed) == ("paid", "in_1", SIX)
    assert await booked(billed) == PAID
    assert await mails(billed) == TOLD
    assert await broken(billed.world.database_url) == {}


async def test_the_payment_may_be_heard_of_before_the_outbox_hears_anything(billed: Billed) -> None:
    assert await follow(billed, "paid")
    await finalized(billed)
    assert (await status(billed))[:2] == ("paid", "in_1")
    assert await booked(billed) == PAID
    assert await mails(billed) == TOLD
    (row,) = await billed.world.rows("SELECT finalized_at IS NOT NULL, number, hosted_url, pdf_url FROM invoices")
    assert row == (True, "S-1", "https://invoice.example/i", "https://invoice.example/p")


async def test_one_that_is_given_up_is_owed_all_the_same_and_may_be_paid(billed: Billed) -> None:
    await finalized(billed)
    assert await follow(billed, "uncollectible")
    assert await booked(billed) == []
    assert await follow(billed, "paid")
    assert await booked(billed) == PAID


async def test_one_that_is_voided_is_given_away(billed: Billed) -> None:
    await finalized(billed)
    assert await follow(billed, "void")
    assert not await follow(billed, "paid")
    assert await booked(billed) == [("invoice_void", "promotion:platform", True, 750_000)]
    assert await broken(billed.world.database_url) == {}


async def test_any_order_of_the_same_news_books_the_same(billed: Billed) -> None:
    await finalized(billed)
    for order in permutations(["open", "paid", "uncollectible"]):
        for news in order:
            await follow(billed, news)
    assert await booked(billed) == PAID
    assert (await status(billed))[0] == "paid"


async def test_what_is_none_of_ours_is_left_alone(billed: Billed) -> None:
    assert not await follow(billed, "paid", uuid4())
    async with transaction(billed.pool) as connection:
        draft = msgspec.structs.replace(at_stripe("draft"), status=None)
        assert not await follow_usage_invoice(connection, await invoice_id_of(billed), draft, now=SIX)
    assert await booked(billed) == []


async def test_what_was_paid_is_no_usage_and_not_billed_again(billed: Billed) -> None:
    await finalized(billed)
    await follow(billed, "paid")
    november = date(2026, 11, 1)
    assert (await billed.freeze(november, datetime(2026, 12, 1, 6, tzinfo=UTC))).outcome == "nothing"
