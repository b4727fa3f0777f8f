"""When a creator's share becomes payable and what takes it back: invoices, carried ones, purchases, gifts, refunds."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from domain.flow.collect_shares import collect_grant
from domain.flow.follow_usage_invoice import follow_usage_invoice
from domain.model.earnings import COLLECTED_AFTER
from domain.model.messages import CastJob
from domain.model.stripe_money import Invoice
from domain.store import identity
from domain.store.connection import transaction
from tests.domain.billing import Billed, open_billed
from tests.domain.credit_books import apply, give, order, paid
from tests.domain.share_books import broken_shares, places

SEPTEMBER, OCTOBER, NOVEMBER = date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1)
FIFTH = datetime(2026, 9, 5, tzinfo=UTC)
BILLED = {month: datetime(month.year, month.month + 1, 1, 6, tzinfo=UTC) for month in (SEPTEMBER, OCTOBER, NOVEMBER)}
PRICE = 500_000
SHARE = 400_000
LATER = datetime.now(UTC) + COLLECTED_AFTER + timedelta(hours=1)


@pytest.fixture
async def billed(database_url: str) -> AsyncGenerator[Billed]:
    async with open_billed(database_url, months=[SEPTEMBER, NOVEMBER]) as opened:
        yield opened


async def freeze(billed: Billed, period: date) -> UUID:
    await billed.freeze(period, BILLED[period])
    return (await billed.world.rows("SELECT id FROM invoices WHERE period = %s", period))[0][0]


async def follow(billed: Billed, invoice_id: UUID, status: str) -> None:
    """Stripe tells of an invoice, twice."""
    told = Invoice(
        id=f"in_{invoice_id}", customer_id="cus_1", status=status, total_cents=75, currency="usd", is_advancing=True,
        number="S-1", hosted_url=None, pdf_url=None, attempts=1, next_payment_attempt_at=None, metadata={},
    )  # fmt: skip
    for _ in range(2):
        async with transaction(billed.pool) as connection:
            await follow_usage_invoice(connection, invoice_id, told, now=BILLED[NOVEMBER])


async def collect(billed: Billed, grant_id: UUID, now: datetime = LATER) -> int:
    """Look at a grant, twice; return how many rows that took."""
    moved = 0
    for _ in range(2):
        async with transaction(billed.pool) as connection:
            await identity.account_lock(connection, account_id=billed.world.account_id)
            found = await collect_grant(connection, account_id=billed.world.account_id, grant_id=grant_id, now=now)
            assert moved == 0 or found == 0
            moved += found
    return moved


async def has(billed: Billed) -> dict[str, int]:
    """Return what the creator has in each place, after the books were looked at."""
    assert await broken_shares(billed.world) == {}
    return {place: micros for (_, place), micros in (await places(billed.world)).items()}


async def buy(billed: Billed, *, bought_at: datetime) -> tuple[UUID, UUID]:
    """Buy a package; return the order and its grant."""
    order_id = await order(billed.world, billed.pool)
    await apply(billed.pool, order_id, paid(), now=bought_at)
    return order_id, (await billed.world.rows("SELECT id FROM credit_grants"))[0][0]


async def cast(billed: Billed, casts: int = 1, instant: datetime = FIFTH) -> list[CastJob]:
    return await billed.cast(instant, casts, creator_price_micros=PRICE)


async def test_what_an_invoice_has_is_payable_once_it_is_paid(billed: Billed) -> None:
    await cast(billed, 2)
    assert await has(billed) == {"pending": 2 * SHARE}
    invoice_id = await freeze(billed, SEPTEMBER)
    await cast(billed, instant=BILLED[SEPTEMBER] + timedelta(hours=1))
    await follow(billed, invoice_id, "open")
    assert await has(billed) == {"pending": 3 * SHARE}
    await follow(billed, invoice_id, "paid")
    assert await has(billed) == {"pending": SHARE, "payable": 2 * SHARE}
    await follow(billed, await freeze(billed, OCTOBER), "paid")
    assert await has(billed) == {"payable": 3 * SHARE}


async def test_what_was_settled_late_is_in_the_invoice_that_bills_it(billed: Billed) -> None:
    await cast(billed, 2)
    late = await billed.accept(BILLED[SEPTEMBER] - timedelta(days=1), creator_price_micros=PRICE)
    september = await freeze(billed, SEPTEMBER)
    await billed.settle(late, BILLED[SEPTEMBER] + timedelta(minutes=1))
    await follow(billed, september, "paid")
    assert await has(billed) == {"pending": SHARE, "payable": 2 * SHARE}
    await cast(billed, instant=datetime(2026, 10, 9, tzinfo=UTC))
    await follow(billed, await freeze(billed, OCTOBER), "paid")
    assert await has(billed) == {"payable": 4 * SHARE}


async def test_what_was_carried_is_collected_with_the_next(billed: Billed) -> None:
    await billed.cast(FIFTH, creator_price_micros=100_000)
    carried = await freeze(billed, SEPTEMBER)
    assert await billed.world.rows("SELECT status FROM invoices") == [("carried",)]
    await follow(billed, carried, "paid")  # nobody asked for it
    assert await has(billed) == {"pending": 80_000}
    await cast(billed, instant=datetime(2026, 10, 9, tzinfo=UTC))
    await follow(billed, await freeze(billed, OCTOBER), "paid")
    assert await has(billed) == {"payable": SHARE + 80_000}


async def test_what_is_given_up_is_lost_until_it_is_paid_all_the_same(billed: Billed) -> None:
    await cast(billed, 2)
    invoice_id = await freeze(billed, SEPTEMBER)
    await follow(billed, invoice_id, "uncollectible")
    assert await has(billed) == {"lost": 2 * SHARE}
    await follow(billed, invoice_id, "paid")
    assert await has(billed) == {"payable": 2 * SHARE}


@pytest.mark.parametrize("before", ["open", "uncollectible"])
async def test_what_is_voided_is_lost(billed: Billed, before: str) -> None:
    await cast(billed, 2)
    invoice_id = await freeze(billed, SEPTEMBER)
    await follow(billed, invoice_id, before)
    await follow(billed, invoice_id, "void")
    assert await has(billed) == {"lost": 2 * SHARE}


@pytest.mark.parametrize("status", ["", "open", "paid", "uncollectible", "void"])
async def test_a_cast_that_is_paid_back_takes_its_share_from_where_it_is(billed: Billed, status: str) -> None:
    first, _ = await cast(billed, 2)
    invoice_id = await freeze(billed, SEPTEMBER)
    if status:
        await follow(billed, invoice_id, status)
    before = await has(billed)
    await billed.refund(first, BILLED[SEPTEMBER] + timedelta(days=1))
    assert await has(billed) == {place: micros - SHARE for place, micros in before.items()}
    # Whatever comes of the invoice, and of the next one, from which the refund is taken off: it is not taken twice.
    await follow(billed, invoice_id, "paid")
    await cast(billed, 5, instant=datetime(2026, 10, 9, tzinfo=UTC))
    await follow(billed, await freeze(billed, OCTOBER), "paid")
    assert await has(billed) == ({"lost": SHARE, "payable": 5 * SHARE} if status == "void" else {"payable": 6 * SHARE})


async def test_what_was_never_paid_and_paid_back_makes_no_more_payable_than_was_collected(billed: Billed) -> None:
    first, _ = await cast(billed, 2)
    await follow(billed, await freeze(billed, SEPTEMBER), "void")
    await billed.refund(first, BILLED[SEPTEMBER] + timedelta(days=1))
    await cast(billed, 3, instant=datetime(2026, 10, 9, tzinfo=UTC))
    october = await freeze(billed, OCTOBER)  # three casts less the one that is paid back: a dollar
    await follow(billed, october, "paid")
    assert await has(billed) == {"lost": SHARE, "payable": 1_000_000, "pending": 200_000}


async def test_of_a_cast_nobody_has_billed_yet_the_line_never_has_the_share(billed: Billed) -> None:
    first, *_ = await cast(billed, 3)
    await billed.refund(first, FIFTH + timedelta(days=1))
    assert await has(billed) == {"pending": 2 * SHARE}
    await follow(billed, await freeze(billed, SEPTEMBER), "paid")
    assert await has(billed) == {"payable": 2 * SHARE}


async def test_a_purchase_is_payable_when_it_is_fourteen_days_old(billed: Billed) -> None:
    _, grant_id = await buy(billed, bought_at=FIFTH)
    await cast(billed, 2)
    assert await collect(billed, grant_id, FIFTH + COLLECTED_AFTER - timedelta(seconds=1)) == 0
    assert await has(billed) == {"pending": 2 * SHARE}
    assert await collect(billed, grant_id, FIFTH + COLLECTED_AFTER) == 1
    await cast(billed)
    assert await has(billed) == {"pending": SHARE, "payable": 2 * SHARE}
    assert await collect(billed, grant_id, FIFTH + COLLECTED_AFTER) == 1
    assert await has(billed) == {"payable": 3 * SHARE}


async def test_what_was_given_is_payable_fourteen_days_after_the_cast(billed: Billed) -> None:
    grant_id = await give(billed.world, billed.pool, 5_000_000)
    await cast(billed)
    assert await collect(billed, grant_id, FIFTH + COLLECTED_AFTER) == 0
    assert await collect(billed, grant_id, FIFTH + COLLECTED_AFTER + timedelta(seconds=1)) == 1
    assert await has(billed) == {"payable": SHARE}


@pytest.mark.parametrize("is_collected", [False, True])
async def test_a_refund_at_stripe_takes_the_creators_part_of_what_was_used(
    billed: Billed, *, is_collected: bool
) -> None:
    order_id, grant_id = await buy(billed, bought_at=FIFTH)
    await cast(billed, 10)  # 5,010,020 of 10,000,000 are used; 9.99 were paid
    place = "payable" if is_collected else "pending"
    if is_collected:
        await collect(billed, grant_id)
    now = LATER if is_collected else FIFTH + timedelta(days=1)
    # What nobody used covers it: no creator hears of it.
    await apply(billed.pool, order_id, paid(refunded_micros=4_000_000), now=now)
    assert await has(billed) == {place: 10 * SHARE}
    for _ in range(2):
        await apply(billed.pool, order_id, paid(refunded_micros=7_000_000), now=now)
    ((owed,),) = await billed.world.rows("SELECT sum(owed_micros)::bigint FROM credit_takebacks")
    lost = -(-10 * SHARE * owed * 10_000_000 // (9_990_000 * 10 * 501_002))
    assert await has(billed) == {place: 10 * SHARE - lost, "lost": lost}
    await apply(billed.pool, order_id, paid(refunded_micros=9_990_000), now=now)
    assert await has(billed) == {"lost": 10 * SHARE}


async def test_a_dispute_takes_all_and_one_that_is_won_gives_it_back(billed: Billed) -> None:
    order_id, grant_id = await buy(billed, bought_at=FIFTH)
    await cast(billed, 10)
    await collect(billed, grant_id)
    for _ in range(2):
        await apply(billed.pool, order_id, paid(disputed_micros=9_990_000), now=LATER)
    assert await has(billed) == {"lost": 10 * SHARE}
    for _ in range(2):
        await apply(billed.pool, order_id, paid(disputed_micros=9_990_000, won=True), now=LATER)
    assert await has(billed) == {"payable": 10 * SHARE}


async def test_a_cast_on_credits_that_is_paid_back_takes_its_share_at_once(billed: Billed) -> None:
    _, grant_id = await buy(billed, bought_at=FIFTH)
    first, _ = await cast(billed, 2)
    await collect(billed, grant_id)
    await billed.refund(first, LATER)
    assert await has(billed) == {"payable": SHARE}
    assert await collect(billed, grant_id) == 0


async def test_of_many_who_look_at_once_one_moves_the_shares(billed: Billed) -> None:
    _, grant_id = await buy(billed, bought_at=FIFTH)
    await cast(billed, 2)
    barrier = asyncio.Barrier(4)

    async def at_once() -> int:
        await barrier.wait()
        async with transaction(billed.pool) as connection:
            await identity.account_lock(connection, account_id=billed.world.account_id)
            account_id = billed.world.account_id
            return await collect_grant(connection, account_id=account_id, grant_id=grant_id, now=LATER)

    assert sorted(await asyncio.gather(*(at_once() for _ in range(4)))) == [0, 0, 0, 1]
    assert await has(billed) == {"payable": 2 * SHARE}


async def test_casting_ones_own_spell_earns_nothing(billed: Billed) -> None:
    world = billed.world
    await world.rows("UPDATE api_keys SET account_id = %s WHERE id = %s", world.creator_id, world.key_id)
    mine = Billed(world=type(world)(**{**_fields(world), "account_id": world.creator_id}), pool=billed.pool)
    await mine.cast(FIFTH, creator_price_micros=PRICE)
    assert await world.rows("SELECT kind FROM ledger_transfers") == [("cast_fee",)]
    assert await has(billed) == {}


def _fields(world: object) -> dict[str, object]:
    return {name: getattr(world, name) for name in type(world).__struct_fields__}
