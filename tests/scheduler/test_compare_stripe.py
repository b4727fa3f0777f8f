"""Our books and Stripe's, compared on the local Stripe: each kind of drift is named, and Stripe's absence is told."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.compare_stripe import StripeReport
from domain.model.stripe_listing import GIVE_UP_AFTER, LOOK_AGAIN_AFTER
from domain.store.connection import Pool
from gateways.stripe.client import StripeGateway
from local.stripe.fake import FakeStripe
from scheduler.billing import go_on, start
from scheduler.compare_stripe import compare_stripe
from scheduler.jobs import Clockwork
from scheduler.outbox.loop import Outbox
from tests.domain.world import World
from tests.scheduler.billed_many import customers_for, gateway_of, owe

OCTOBER = date(2026, 10, 1)
BILLED = datetime(2026, 11, 1, 6, tzinfo=UTC)
NOW = datetime(2026, 11, 2, 3, tzinfo=UTC)
LATER = NOW + LOOK_AGAIN_AFTER


def clock() -> float:
    return (BILLED + timedelta(minutes=5)).timestamp()


@pytest.fixture
def fake(tmp_path: Path) -> Generator[FakeStripe]:
    made = FakeStripe(tmp_path / "stripe", clock=clock)
    made.start()
    yield made
    made.close()


@pytest.fixture
async def stripe(fake: FakeStripe) -> AsyncGenerator[StripeGateway]:
    async with gateway_of(fake) as gateway:
        yield gateway


@pytest.fixture
def clockwork(pool: Pool, stripe: StripeGateway) -> Clockwork:
    return Clockwork(pool=pool, slow_pool=pool, redis=cast("Any", None), token_key=b"", billing=True, stripe=stripe)


@pytest.fixture
async def billed(world: World, pool: Pool, fake: FakeStripe, stripe: StripeGateway) -> World:
    """Three accounts with invoices of October, open at Stripe as here."""
    await owe(world, await customers_for(fake, 3), [OCTOBER], random.Random(3))
    await start(pool, OCTOBER, BILLED)
    await go_on(pool, BILLED)
    outbox = Outbox(pool, stripe)
    while await outbox.run_once(BILLED):
        pass
    await world.rows("UPDATE invoices SET frozen_at = %s", BILLED)
    assert await world.rows("SELECT status, count(*) FROM invoices GROUP BY 1") == [("open", 3)]
    return world


async def reports(world: World) -> list[tuple[bool, StripeReport]]:
    rows = await world.rows(
        "SELECT balanced, report::text FROM reconciliation_reports WHERE scope = 'stripe' ORDER BY id"
    )
    return [(balanced, msgspec.json.decode(text, type=StripeReport)) for balanced, text in rows]


async def named(world: World, clockwork: Clockwork, now: datetime = NOW) -> set[tuple[str, str]]:
    """Compare from the beginning to the end; return each difference's kind and fault."""
    assert "listed" in await compare_stripe(clockwork, now)
    assert "looked at once more in an hour" in await compare_stripe(clockwork, now + timedelta(minutes=1))
    assert "objects compared" in await compare_stripe(clockwork, now + LOOK_AGAIN_AFTER)
    balanced, report = (await reports(world))[-1]
    faults = {(book.book.value, row.fault) for book in report.books for row in book.rows}
    assert balanced is (not faults)
    return faults


async def one_invoice(world: World) -> tuple[UUID, UUID, str, int, str]:
    return cast("Any", await world.rows(
        "SELECT id, account_id, stripe_invoice_id, total_cents, stripe_customer_id FROM invoices ORDER BY id LIMIT 1"
    ))[0]  # fmt: skip


async def test_what_is_the_same_does_not_differ_and_is_compared_once_a_day(billed: World, clockwork: Clockwork) -> None:
    assert await named(billed, clockwork) == set()
    ((_, report),) = await reports(billed)
    assert (report.compared, report.listed) == (True, {"invoice": 3})
    assert await compare_stripe(clockwork, LATER + timedelta(minutes=1)) == "compared today"
    assert await named(billed, clockwork, NOW + timedelta(days=1)) == set()
    assert await billed.rows("SELECT count(*) FROM stripe_comparisons") == [(1,)]


async def _stripe_paid(billed: World, fake: FakeStripe, stripe: StripeGateway) -> None:
    del stripe
    fake.pay_invoice((await one_invoice(billed))[2])


async def _paid_here_alone(billed: World, fake: FakeStripe, stripe: StripeGateway) -> None:
    del fake, stripe
    await billed.rows("UPDATE invoices SET status = 'paid' WHERE id = %s", (await one_invoice(billed))[0])


async def _other_total(billed: World, fake: FakeStripe, stripe: StripeGateway) -> None:
    del fake, stripe
    await billed.rows(
        "UPDATE invoices SET total_cents = total_cents + 1, usage_micros = usage_micros + 10000 WHERE id = %s",
        (await one_invoice(billed))[0],
    )


async def _gone_at_stripe(billed: World, fake: FakeStripe, stripe: StripeGateway) -> None:
    del fake, stripe
    await billed.rows(
        "UPDATE invoices SET stripe_invoice_id = 'in_nowhere' WHERE id = %s", (await one_invoice(billed))[0]
    )


async def _second(billed: World, fake: FakeStripe, stripe: StripeGateway) -> None:
    del fake
    invoice_id, _, _, _, customer_id = await one_invoice(billed)
    await stripe.invoices.draft(
        customer_id=customer_id, description="again", metadata={"spell_outbox": str(invoice_id)}, key="again"
    )


async def _unknown(billed: World, fake: FakeStripe, stripe: StripeGateway) -> None:
    del fake
    customer_id = (await one_invoice(billed))[4]
    await stripe.invoices.draft(
        customer_id=customer_id, description="whose?", metadata={"spell_outbox": str(uuid4())}, key="whose"
    )


async def _somebody_elses(billed: World, fake: FakeStripe, stripe: StripeGateway) -> None:
    del fake
    customer_id = (await one_invoice(billed))[4]
    await stripe.invoices.draft(customer_id=customer_id, description="by hand", metadata={}, key="by-hand")


PLANTED: dict[str, tuple[Callable[[World, FakeStripe, StripeGateway], Awaitable[None]], set[tuple[str, str]]]] = {
    "paid at Stripe and open here": (_stripe_paid, {("invoice", "status_differs")}),
    "paid here and open at Stripe": (_paid_here_alone, {("invoice", "status_differs")}),
    "another total": (_other_total, {("invoice", "total_differs")}),
    "not there": (_gone_at_stripe, {("invoice", "missing_at_stripe"), ("invoice", "second_at_stripe")}),
    "a second one": (_second, {("invoice", "second_at_stripe")}),
    "none of ours": (_unknown, {("invoice", "unknown_here")}),
    "made by hand": (_somebody_elses, set()),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_an_invoice_that_differs_is_named_and_left_as_it_is(
    billed: World, clockwork: Clockwork, fake: FakeStripe, stripe: StripeGateway, name: str
) -> None:
    plant, expected = PLANTED[name]
    await plant(billed, fake, stripe)
    before = await billed.rows("SELECT i::text FROM invoices i ORDER BY id"), fake.invoices()
    assert await named(billed, clockwork) == expected
    assert (await billed.rows("SELECT i::text FROM invoices i ORDER BY id"), fake.invoices()) == before


async def test_news_on_its_way_is_no_difference(billed: World, clockwork: Clockwork, fake: FakeStripe) -> None:
    invoice_id, _, stripe_id, _, _ = await one_invoice(billed)
    fake.pay_invoice(stripe_id)
    await compare_stripe(clockwork, NOW)
    await billed.rows("UPDATE invoices SET status = 'paid' WHERE id = %s", invoice_id)
    # And the other way round: here first, and at Stripe by the second look.
    await compare_stripe(clockwork, LATER)
    assert [balanced for balanced, _ in await reports(billed)] == [True]


async def test_stripe_that_changes_between_the_looks_is_asked_again(
    billed: World, clockwork: Clockwork, fake: FakeStripe
) -> None:
    invoice_id, _, stripe_id, _, _ = await one_invoice(billed)
    await billed.rows("UPDATE invoices SET status = 'paid' WHERE id = %s", invoice_id)
    await compare_stripe(clockwork, NOW)
    fake.pay_invoice(stripe_id)
    await compare_stripe(clockwork, LATER)
    assert [balanced for balanced, _ in await reports(billed)] == [True]


async def test_pages_are_read_one_behind_the_other_and_killed_it_goes_on(
    billed: World, clockwork: Clockwork, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateways.stripe.listing.PAGE_MAX", 2)
    monkeypatch.setattr("scheduler.compare_stripe.PAGES_PER_RUN_MAX", 1)
    assert await compare_stripe(clockwork, NOW) == "1 pages read"
    ((last_id, seen),) = await billed.rows(
        "SELECT last_id, (SELECT count(*) FROM stripe_listed) FROM stripe_comparisons"
    )
    assert (last_id is not None, seen) == (True, 2)
    # Stripe fails in between: nothing is read twice, nothing is lost.
    fake.fail("error", calls=1)
    assert "not compared yet" in await compare_stripe(clockwork, NOW)
    assert await billed.rows("SELECT trouble IS NOT NULL FROM stripe_comparisons") == [(True,)]
    rounds = 0
    while "listed" not in await compare_stripe(clockwork, NOW):
        rounds += 1
    assert await billed.rows("SELECT count(*) FROM stripe_listed") == [(3,)]
    assert rounds == 4, "the rest of the invoices, two pages of payments that are none of ours, refunds"
    await compare_stripe(clockwork, LATER)
    assert [balanced for balanced, _ in await reports(billed)] == [True]


async def test_stripe_away_is_said_and_is_no_failure(billed: World, clockwork: Clockwork, fake: FakeStripe) -> None:
    fake.fail("error", rate=1.0, calls=None)
    assert "Stripe not compared yet" in await compare_stripe(clockwork, NOW)
    assert "Stripe not compared yet" in await compare_stripe(clockwork, NOW + timedelta(hours=6))
    assert "Stripe not compared: " in await compare_stripe(clockwork, NOW + GIVE_UP_AFTER)
    ((balanced, report),) = await reports(billed)
    assert (balanced, report.compared, report.books) == (False, False, [])
    assert "doubt" in report.reason
    assert await compare_stripe(clockwork, NOW + GIVE_UP_AFTER) == "compared today"


async def test_without_keys_nothing_is_compared(pool: Pool) -> None:
    off = Clockwork(pool=pool, slow_pool=pool, redis=cast("Any", None), token_key=b"")
    assert await compare_stripe(off, NOW) == "billing is off: no keys of Stripe"
