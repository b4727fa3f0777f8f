"""The inbox at work, against a Stripe that answers over HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest

from domain.flow import stripe_inbox
from domain.flow.stripe_inbox import AWAY_PAUSE_S
from domain.model.stripe_events import ATTEMPTS_MAX, StripeEvent
from domain.model.stripe_money import Invoice
from domain.store import stripe_events as store
from domain.store.connection import BadRowError, Connection, Pool, Role, open_pool, transaction
from gateways.stripe.client import StripeGateway
from scheduler.inbox.flows import Asked, Flow, Shop, Write
from scheduler.inbox.invoices import is_unpaid
from scheduler.inbox.loop import LEASE, Inbox
from scheduler.inbox.table import FLOWS
from tests.domain.paying import GRACE, NOW, customer_of, make_customer
from tests.domain.world import World, make_world
from tests.scheduler.stripe_shelf import Shelf, invoice, shelf, subscription

UPDATED = "customer.subscription.updated"


@pytest.fixture
async def world(database_url: str) -> World:
    return await make_world(database_url)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    async with open_pool(database_url, role=Role.ENGINE, size_max=8) as opened:
        yield opened


@pytest.fixture
async def stripe() -> AsyncGenerator[Shelf]:
    async with shelf() as made:
        yield made


@pytest.fixture
async def shop(stripe: Shelf) -> AsyncGenerator[Shop]:
    async with StripeGateway(stripe.settings, seconds_max=60.0) as gateway:
        yield Shop.of(gateway, stripe.settings)


@pytest.fixture
async def customer(world: World, pool: Pool) -> World:
    await make_customer(world, pool)
    return world


class News:
    """Events of one customer, numbered."""

    def __init__(self, world: World, pool: Pool) -> None:
        self.customer_id = customer_of(world.account_id)
        self._pool = pool
        self._count = 0

    async def tell(self, kind: str = UPDATED, **changed: object) -> str:
        self._count += 1
        event = StripeEvent(
            id=f"evt_{self._count:03d}",
            type=kind,
            object_id=f"sub_{self.customer_id}",
            customer_id=self.customer_id,
            connected_account_id=None,
            made_at=NOW,
        )
        event = msgspec.structs.replace(event, **changed)
        async with transaction(self._pool) as connection:
            await stripe_inbox.receive(connection, event, now=NOW)
        return event.id


@pytest.fixture
def news(customer: World, pool: Pool) -> News:
    return News(customer, pool)


async def statuses(world: World) -> dict[str, str]:
    return dict(await world.rows("SELECT id, status FROM stripe_events ORDER BY id"))


async def account(world: World) -> tuple[str, bool]:
    return (await world.rows("SELECT plan, subscription_active FROM accounts WHERE id = %s", world.account_id))[0]


async def test_the_object_is_fetched_as_it_is_now(
    customer: World, pool: Pool, stripe: Shelf, shop: Shop, news: News
) -> None:
    stripe.subscriptions[news.customer_id] = [subscription(news.customer_id, "active")]
    for kind in ("customer.subscription.deleted", "customer.subscription.created", UPDATED):
        await news.tell(kind)
    assert await Inbox(pool, shop).run_once(NOW) == 3
    assert await account(customer) == ("pro", True)
    assert set((await statuses(customer)).values()) == {"applied"}
    assert sum(stripe.asked.values()) == 1, "events of one customer that wait together need one look"
    assert await Inbox(pool, shop).run_once(NOW) == 0


async def test_a_failed_invoice_begins_the_grace_and_a_paid_one_ends_it(
    customer: World, pool: Pool, stripe: Shelf, shop: Shop, news: News
) -> None:
    stripe.subscriptions[news.customer_id] = [subscription(news.customer_id, "active")]
    stripe.invoices["in_1"] = invoice("in_1", news.customer_id, "open")
    grace = "SELECT grace_until, unpaid_invoices FROM billing_accounts"
    await news.tell("invoice.payment_failed", object_id="in_1")
    await Inbox(pool, shop).run_once(NOW)
    assert await customer.rows(grace) == [(NOW + GRACE, ["in_1"])]
    stripe.invoices["in_1"]["status"] = "paid"
    # An old failure that comes once more after the payment is about an invoice that is paid.
    await news.tell("invoice.payment_failed", object_id="in_1")
    await Inbox(pool, shop).run_once(NOW + timedelta(days=1))
    assert await customer.rows(grace) == [(None, [])]


@pytest.mark.parametrize(
    ("status", "failed", "said"),
    [
        ("open", True, True),
        ("open", False, None),
        ("draft", True, None),
        ("uncollectible", False, True),
        ("paid", True, False),
        ("void", True, False),
    ],
)
def test_what_an_invoice_says(status: str, failed: bool, said: bool | None) -> None:  # noqa: FBT001  # a column
    found = msgspec.convert(
        {
            **invoice("in_1", "cus_1", status),
            "customer_id": "cus_1",
            "total_cents": 1,
            "is_advancing": True,
            "hosted_url": None,
            "pdf_url": None,
            "attempts": 1,
            "next_payment_attempt_at": None,
        },
        Invoice,
    )
    assert is_unpaid(found, failed=failed) is said


async def test_what_is_about_nobody_of_ours_is_done_with(
    customer: World, pool: Pool, stripe: Shelf, shop: Shop, news: News
) -> None:
    stripe.invoices["in_1"] = invoice("in_1", None, "open")
    await news.tell(UPDATED, customer_id=None)
    await news.tell(UPDATED, customer_id="cus_of_somebody_else")
    await news.tell(UPDATED, connected_account_id="acct_1")
    await news.tell("invoice.paid", object_id="in_1")
    assert await Inbox(pool, shop).run_once(NOW) == 4
    assert set((await statuses(customer)).values()) == {"applied"}
    assert stripe.asked == {"customer=cus_of_somebody_else&status=all&limit=20": 1, "in_1": 1}


async def test_one_bad_event_holds_up_no_other_and_is_parked(
    customer: World, pool: Pool, stripe: Shelf, shop: Shop, news: News, caplog: pytest.LogCaptureFixture
) -> None:
    stripe.subscriptions[news.customer_id] = [subscription(news.customer_id, "active")]
    bad = await news.tell("invoice.paid", object_id="in_missing")
    await news.tell()
    inbox, now = Inbox(pool, shop), NOW
    for _ in range(ATTEMPTS_MAX):
        await inbox.run_once(now)
        now += timedelta(hours=1)
    assert await account(customer) == ("pro", True)
    assert await statuses(customer) == {bad: "parked", "evt_002": "applied"}
    assert [record.levelname for record in caplog.records if "parked" in record.message] == ["ERROR"]
    async with transaction(pool) as connection:
        (parked,) = await store.events_parked(connection, limit=9)
    assert "resource_missing" in (parked.trouble or "")
    stripe.invoices["in_missing"] = invoice("in_missing", news.customer_id, "paid")
    async with transaction(pool) as connection:
        await store.events_unpark(connection, ids=[bad])
    await inbox.run_once()
    assert (await statuses(customer))[bad] == "applied"


@pytest.mark.parametrize("fault", [429, 500, 503, 0])
async def test_an_outage_is_nobodys_fault(
    customer: World, pool: Pool, stripe: Shelf, shop: Shop, news: News, fault: int
) -> None:
    stripe.subscriptions[news.customer_id] = [subscription(news.customer_id, "active")]
    await news.tell()
    inbox, now = Inbox(pool, shop), NOW
    stripe.faults = [fault] * (ATTEMPTS_MAX + 3)
    while stripe.faults:
        assert await inbox.run_once(now) == 1
        assert await inbox.run_once(now) == 0
        now += timedelta(seconds=AWAY_PAUSE_S)
    assert await account(customer) == ("free", False)
    await inbox.run_once(now)
    assert await account(customer) == ("pro", True)


async def test_two_at_once_end_in_the_state_asked_for_last(
    customer: World, pool: Pool, stripe: Shelf, shop: Shop, news: News
) -> None:
    """The first has asked and is slow to write; the second sees the end of the subscription and writes it before."""
    key = f"customer={news.customer_id}&status=all&limit=20"
    stripe.subscriptions[news.customer_id] = [subscription(news.customer_id, "active")]
    stripe.holds = [slowly := asyncio.Event()]
    await news.tell()
    slow = asyncio.create_task(Inbox(pool, shop).run_once(NOW))
    await stripe.wait_for(key, 1)
    # What the first will be told stands; from here on everybody is told of the end.
    stripe.subscriptions[news.customer_id] = [subscription(news.customer_id, "canceled")]
    await news.tell("customer.subscription.deleted")
    late = NOW + timedelta(seconds=1)
    assert await Inbox(pool, shop).run_once(late) == 1
    slowly.set()
    assert await slow == 1
    assert await account(customer) == ("free", False)
    assert (await customer.rows("SELECT status, asked_at FROM billing_accounts"))[0] == ("canceled", late)


def flow_of(look: Callable[[Shop, Asked], Awaitable[Write]]) -> Flow:
    return Flow(name="made", look=look)


@pytest.mark.parametrize("error", [RuntimeError("bug"), BadRowError("no such")])
async def test_a_fault_of_ours_in_one_flow_stops_no_other(
    customer: World, pool: Pool, stripe: Shelf, shop: Shop, news: News, error: Exception
) -> None:
    async def write(_: Connection) -> None:
        raise error

    async def look(_shop: Shop, _asked: Asked) -> Write:
        return write

    stripe.subscriptions[news.customer_id] = [subscription(news.customer_id, "active")]
    bad = await news.tell("charge.refunded")
    await news.tell()
    await Inbox(pool, shop, {**FLOWS, "charge.refunded": flow_of(look)}).run_once(NOW)
    assert await account(customer) == ("pro", True)
    assert await statuses(customer) == {bad: "pending", "evt_002": "applied"}
    rows = await customer.rows("SELECT attempts, trouble FROM stripe_events WHERE id = %s", bad)
    assert (rows[0][0], type(error).__name__ in rows[0][1]) == (1, True)


async def test_what_was_written_is_undone_when_the_event_cannot_be_ended(
    customer: World, pool: Pool, shop: Shop, news: News
) -> None:
    """Killed between writing and committing: the event is there still, and so is everything to be done."""

    async def write(connection: Connection) -> None:
        await connection.execute(b"UPDATE accounts SET plan = 'enterprise'")
        raise asyncio.CancelledError

    async def look(_shop: Shop, _asked: Asked) -> Write:
        return write

    await news.tell("charge.refunded")
    inbox = Inbox(pool, shop, {"charge.refunded": flow_of(look)})
    task = asyncio.create_task(inbox.run_once(NOW))
    await asyncio.wait([task])
    assert await account(customer) == ("free", False)
    assert set((await statuses(customer)).values()) == {"pending"}
    async with transaction(pool) as connection:
        types = ["charge.refunded"]
        assert await store.events_claim(connection, types=types, limit=9, lease=LEASE, now=NOW) == []
        assert len(await store.events_claim(connection, types=types, limit=9, lease=LEASE, now=NOW + LEASE)) == 1


async def test_it_runs_until_it_is_stopped(customer: World, pool: Pool, stripe: Shelf, shop: Shop, news: News) -> None:
    stop = asyncio.Event()
    stripe.subscriptions[news.customer_id] = [subscription(news.customer_id, "active")]
    await news.tell("charge.succeeded")
    await news.tell()
    running = asyncio.create_task(Inbox(pool, shop).run(stop))
    await stripe.wait_for(f"customer={news.customer_id}&status=all&limit=20", 1)
    stop.set()
    await running
    assert await statuses(customer) == {"evt_001": "ignored", "evt_002": "applied"}
