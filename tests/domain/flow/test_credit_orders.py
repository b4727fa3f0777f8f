"""An order of credits under everything Stripe may say of it, in any order, more than once, and by two at a time."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.apply_order import apply_order
from domain.flow.creation import IdempotentCall
from domain.flow.order_credits import CreatedOrder, NewOrder, order_credits, record_checkout
from domain.model.audit import OPERATOR
from domain.model.credit_orders import DisputeFacts, Facts
from domain.model.errors import Code, RefusedError
from domain.model.messages import Outcome
from domain.store.connection import Pool, transaction
from tests.domain.admitted import accept
from tests.domain.credit_books import (
    CREDIT,
    NOW,
    PRICE,
    WORTH,
    apply,
    broken_credits,
    give,
    grants,
    history,
    ledger,
    order,
    paid,
)
from tests.domain.events import event_of
from tests.domain.flow.test_credits import consume
from tests.domain.invariants import broken
from tests.domain.store.test_statements import settle_all
from tests.domain.world import World, make_world

OPEN_DISPUTE = DisputeFacts(id="dp_1", money_micros=PRICE // 10_000 * 4_000, won=False)
WON_DISPUTE = msgspec.structs.replace(OPEN_DISPUTE, won=True)
REFUNDED = PRICE // 10_000 * 3_000


class News(NamedTuple):
    """An event by its name, and what Stripe says of the order when it happens: the truth only grows."""

    name: str
    facts: Facts


COMPLETED = News("checkout.session.completed", Facts(payment="unpaid", payment_id="pi"))
FAILED = News("async_payment_failed", Facts(payment="failed", payment_id="pi"))
SUCCEEDED = News("async_payment_succeeded", Facts(payment="paid", paid_micros=PRICE, payment_id="pi"))
REFUND = News("charge.refunded", msgspec.structs.replace(SUCCEEDED.facts, refunded_micros=REFUNDED))
DISPUTE = News("charge.dispute.created", msgspec.structs.replace(REFUND.facts, disputes=(OPEN_DISPUTE,)))
WON = News("charge.dispute.closed", msgspec.structs.replace(REFUND.facts, disputes=(WON_DISPUTE,)))
STORY = (COMPLETED, FAILED, SUCCEEDED, REFUND, DISPUTE)


async def end_of(world: World, order_id: object) -> tuple[object, ...]:
    """Return all that an order may end at: its status, what was given, taken, and what is owed."""
    rows = await world.rows(
        "SELECT o.status, g.balance_micros, g.taken_back_micros,"
        " (SELECT coalesce(sum(owed_micros), 0)::bigint FROM credit_takebacks t WHERE t.order_id = o.id"
        "  AND t.reversed_at IS NULL),"
        " (SELECT count(*) FROM credit_transactions h WHERE h.reference_id = o.id::text AND h.kind = 'purchase')"
        " FROM credit_orders o LEFT JOIN credit_grants g ON g.order_id = o.id WHERE o.id = %s",
        order_id,
    )
    return rows[0]


async def play(world: World, pool: Pool, story: Sequence[Facts]) -> tuple[object, ...]:
    order_id = await order(world, pool)
    for facts in story:
        await apply(pool, order_id, msgspec.structs.replace(facts, payment_id=f"pi_{order_id}"))
    return await end_of(world, order_id)


async def test_an_order_ends_the_same_under_every_order_of_events_each_also_twice(world: World, pool: Pool) -> None:
    """As fetched: whoever handles an event asks Stripe, and hears of all that has happened until then, or later."""
    taken = WORTH * 7_000 // 10_000
    wanted = ("disputed", WORTH - taken, taken, 0, 1)
    for events in itertools.permutations(STORY):
        newest = [max(events[: place + 1], key=STORY.index).facts for place in range(len(events))]
        assert await play(world, pool, newest) == wanted, [event.name for event in events]
        doubled = [facts for facts in newest for _ in range(2)]
        assert await play(world, pool, [*doubled, *newest]) == wanted, [event.name for event in events]
    assert await broken_credits(world.database_url) == {}


async def test_facts_that_are_older_than_what_is_known_undo_nothing(world: World, pool: Pool) -> None:
    """As two who fetched at different times and come in any order: the one who is late knows less."""
    wanted = ("disputed", WORTH * 3_000 // 10_000, WORTH * 7_000 // 10_000, 0, 1)
    for events in itertools.permutations(STORY):
        assert await play(world, pool, [event.facts for event in events]) == wanted, [event.name for event in events]
    won = ("partly_refunded", WORTH * 7_000 // 10_000, WORTH * 3_000 // 10_000, 0, 1)
    for events in itertools.permutations((SUCCEEDED, REFUND, DISPUTE, WON)):
        assert await play(world, pool, [event.facts for event in events]) == won, [event.name for event in events]
    assert await broken_credits(world.database_url) == {}


@pytest.mark.parametrize("news", [SUCCEEDED, REFUND, DISPUTE], ids=lambda news: news.name)
async def test_two_appliers_at_one_moment_do_it_once(world: World, pool: Pool, news: News) -> None:
    """Each on its own connection, let go at once."""
    for _ in range(5):
        order_id = await order(world, pool)
        barrier = asyncio.Barrier(4)

        async def one(order_id: object = order_id, barrier: asyncio.Barrier = barrier) -> None:
            await barrier.wait()
            await apply(pool, order_id, msgspec.structs.replace(news.facts, payment_id=f"pi_{order_id}"))

        await asyncio.gather(*(one() for _ in range(4)))
        once = await play(world, pool, [news.facts])
        assert await end_of(world, order_id) == once
    assert await broken_credits(world.database_url) == {}


async def test_nothing_is_given_before_it_is_paid(world: World, pool: Pool) -> None:
    order_id = await order(world, pool)
    for payment in ("unpaid", "failed", "expired"):
        await apply(pool, order_id, Facts(payment=payment, paid_micros=PRICE))
        assert await grants(world) == []
    assert (await end_of(world, order_id))[0] == "failed", "what failed does not expire as well"
    found = await apply(pool, order_id, paid())
    assert found is not None
    assert found.status == "completed", "money that came all the same is worth its credits"
    assert await grants(world) == [(WORTH, 0)]
    assert await apply(pool, uuid4(), paid()) is None


async def test_what_was_bought_and_what_was_paid_are_booked(world: World, pool: Pool) -> None:
    await apply(pool, await order(world, pool), paid())
    assert await ledger(world) == {("cash", "credits"): PRICE, ("promotion", "credits"): WORTH - PRICE}
    assert await history(world) == [("purchase", WORTH, WORTH)]
    assert (await world.rows("SELECT credits_ever FROM accounts WHERE id = %s", world.account_id)) == [(True,)]
    assert await broken_credits(world.database_url) == {}


async def test_an_order_that_was_paid_too_little_gives_nothing_and_says_so(world: World, pool: Pool) -> None:
    order_id = await order(world, pool)
    with pytest.raises(RefusedError, match="costs 9990000 micros and 9980000 were paid") as caught:
        await apply(pool, order_id, paid(price_micros=PRICE - 10_000))
    assert caught.value.refusal.code is Code.CONFLICT
    assert await grants(world) == []


async def test_a_refund_takes_what_is_left_and_books_the_rest_as_owed(world: World, pool: Pool) -> None:
    """Half of it was used: half the money is covered by credits, the other half is a debt."""
    order_id = await order(world, pool)
    await apply(pool, order_id, paid())
    await consume(world, pool, WORTH // 2)
    await apply(pool, order_id, paid(refunded_micros=PRICE))
    assert await grants(world) == [(0, 0)]
    assert (await ledger(world))["receivable", "cash"] == PRICE // 2
    assert (await ledger(world))["credits", "cash"] == PRICE // 2
    assert (await history(world))[-1] == ("refund", -WORTH // 2, 0)
    assert (await end_of(world, order_id))[0] == "refunded"
    assert await broken_credits(world.database_url) == {}


async def test_a_refund_leaves_what_open_casts_hold(world: World, pool: Pool) -> None:
    order_id = await order(world, pool)
    await apply(pool, order_id, paid())
    (job,) = await accept(world, pool, world.spec())
    assert await grants(world) == [(WORTH, 2_500)]
    await apply(pool, order_id, paid(refunded_micros=PRICE))
    assert await grants(world) == [(2_500, 2_500)]
    assert (await end_of(world, order_id))[3] == 2_498, "what these credits cost, rounded against nobody"
    await settle_all(pool, event_of(job))
    assert await grants(world) == [(2_500 - 1_002, 0)]
    assert (await history(world))[-1] == ("casts", -1_002, 2_500 - 1_002)
    assert await broken(world.database_url) == {}
    assert await broken_credits(world.database_url) == {}


async def test_a_dispute_that_is_won_gives_back_the_credits_and_the_debt(world: World, pool: Pool) -> None:
    order_id = await order(world, pool)
    await apply(pool, order_id, paid())
    await consume(world, pool, 4_000_000)
    before = await ledger(world)
    await apply(pool, order_id, paid(disputed_micros=PRICE))
    assert await grants(world) == [(0, 0)]
    assert (await end_of(world, order_id))[0] == "disputed"
    for _ in range(2):
        await apply(pool, order_id, paid(disputed_micros=PRICE, won=True))
    assert await grants(world) == [(6_000_000, 0)]
    assert (await end_of(world, order_id))[0] == "completed"
    moved = await ledger(world)
    assert moved["receivable", "cash"] == moved["cash", "receivable"] > 0
    assert moved["credits", "cash"] + before["cash", "credits"] == moved["cash", "credits"]
    assert [row[0] for row in await history(world)] == ["purchase", "consume", "dispute", "dispute_won"]
    assert await broken_credits(world.database_url) == {}


async def test_a_refund_touches_no_grant_but_its_own(world: World, pool: Pool) -> None:
    other = await give(world, pool, 5_000_000)
    order_id = await order(world, pool)
    await apply(pool, order_id, paid())
    await consume(world, pool, 5_000_000 + WORTH)
    await give(world, pool, 7_000_000)
    await apply(pool, order_id, paid(refunded_micros=PRICE))
    assert [micros for micros, _ in await grants(world)] in ([0, 7_000_000, 0], [7_000_000, 0, 0])
    assert (await end_of(world, order_id))[3] == PRICE
    assert other is not None
    assert await broken_credits(world.database_url) == {}


async def test_more_than_the_price_that_goes_back_is_owed(world: World, pool: Pool) -> None:
    """A bank takes its fee along."""
    order_id = await order(world, pool)
    await apply(pool, order_id, paid(disputed_micros=PRICE + 150_000))
    assert await grants(world) == [(0, 0)]
    assert (await end_of(world, order_id))[3] == 150_000
    assert await broken_credits(world.database_url) == {}


async def test_casts_in_one_batch_are_one_line_of_each_history(world: World, pool: Pool) -> None:
    other = await make_world(world.database_url)
    jobs = []
    await give(other, pool, 7)  # its history is longer
    for who in (world, other):
        await give(who, pool, 1_000_000)
        jobs += await accept(who, pool, who.spec(), who.spec(), who.spec())
    await settle_all(pool, *(event_of(job) for job in jobs[:5]), event_of(jobs[5], Outcome.SANDBOX_CRASHED))
    assert await history(world) == [("grant", 1_000_000, 1_000_000), ("casts", -3_006, 1_000_000 - 3_006)]
    assert (await history(other))[1:] == [("grant", 1_000_000, 1_000_007), ("casts", -2_004, 1_000_007 - 2_004)]
    counted = await world.rows("SELECT casts FROM credit_transactions WHERE kind = 'casts' ORDER BY casts")
    assert counted == [(2,), (3,)]
    assert await broken_credits(world.database_url) == {}


async def test_the_same_call_orders_once_under_the_terms_of_then(world: World, pool: Pool) -> None:
    async def call(key: str, body: bytes, package_id: str = "starter") -> CreatedOrder:
        new = NewOrder(id=uuid4(), account_id=world.account_id, package_id=package_id)
        once = IdempotentCall(key=key, request_hash=body.ljust(32, b"."))
        async with transaction(pool) as connection:
            return await order_credits(connection, new, credit_micros=CREDIT, actor=OPERATOR, call=once)

    made = await call("k", b"a")
    await world.rows("UPDATE credit_packages SET retired_at = now(), price_cents = 1 WHERE id = 'starter'")
    again = await call("k", b"a")
    assert (made.replayed, again.replayed, again.order) == (False, True, made.order)
    with pytest.raises(RefusedError) as reused:
        await call("k", b"b")
    assert reused.value.refusal.code is Code.IDEMPOTENCY_KEY_REUSED
    with pytest.raises(RefusedError) as unknown:
        await call("l", b"a")
    assert (unknown.value.refusal.code, unknown.value.refusal.faults[0].location) == (Code.VALIDATION, "package")
    await give(world, pool, 1)
    budget = await world.add_budget(1)
    await world.rows(
        "INSERT INTO idempotency_keys VALUES (%s, 'budget', %s, %s, now())", world.account_id, b"." * 32, [budget]
    )
    with pytest.raises(RefusedError) as other:
        await call("budget", b"")
    assert other.value.refusal.code is Code.IDEMPOTENCY_KEY_REUSED
    assert await world.rows("SELECT count(*) FROM credit_orders") == [(1,)]
    assert await world.rows("SELECT count(*) FROM audit_log WHERE action = 'credit_order.create'") == [(1,)]


async def test_the_page_of_an_order_is_remembered_once(world: World, pool: Pool) -> None:
    order_id = await order(world, pool)
    for session, url in (("cs_1", "https://pay.example/1"), ("cs_2", "https://pay.example/2")):
        async with transaction(pool) as connection:
            found = await record_checkout(
                connection, account_id=world.account_id, order_id=order_id, session=session, checkout_url=url
            )
        assert (found.stripe_session, found.checkout_url) == ("cs_1", "https://pay.example/1")


async def test_a_dispute_of_what_is_used_up_takes_nothing_and_gives_nothing_back(world: World, pool: Pool) -> None:
    order_id = await order(world, pool)
    await apply(pool, order_id, paid())
    await consume(world, pool, WORTH)
    await apply(pool, order_id, paid(disputed_micros=PRICE))
    assert (await end_of(world, order_id))[3] == PRICE
    await apply(pool, order_id, paid(disputed_micros=PRICE, won=True))
    assert (await end_of(world, order_id))[:4] == ("completed", 0, 0, 0)
    assert [row[0] for row in await history(world)] == ["purchase", "consume"], "no credit moved"
    assert await broken_credits(world.database_url) == {}


class KilledError(BaseException):
    """The process dies here."""


async def die_of(pool: Pool, order_id: UUID, facts: Facts) -> None:
    async with transaction(pool) as connection:
        await apply_order(connection, order_id=order_id, facts=facts, now=NOW)
        raise KilledError


async def test_what_died_before_its_commit_is_done_by_the_next(world: World, pool: Pool) -> None:
    """Killed with everything written and nothing committed: the event is still there, and is worked on again."""
    order_id = await order(world, pool)
    for facts in (paid(), paid(refunded_micros=REFUNDED), paid(disputed_micros=PRICE - REFUNDED)):
        with pytest.raises(KilledError):
            await die_of(pool, order_id, facts)
        assert await broken_credits(world.database_url) == {}
        await apply(pool, order_id, facts)
    assert [row[0] for row in await history(world)] == ["purchase", "refund", "dispute"]
    assert await broken_credits(world.database_url) == {}
