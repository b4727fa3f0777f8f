"""What Stripe says becomes what casts may: followed once, in the order of asking, told by mail, and taken back."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.flow.follow_stripe import end_grace, follow_invoice, follow_subscriptions, graces_over
from domain.model.admission import Accepted, AdmissionRequest, Judged
from domain.model.errors import Code, Refusal
from domain.model.funding import Funding
from domain.store.connection import Pool, transaction
from tests.domain.paying import GRACE, NOW, PRICES, customer_of, follow, make_customer, subscription
from tests.domain.world import TERMS, World, admit

BILLED = msgspec.structs.replace(TERMS, billing_enabled=True)
DAY = timedelta(days=1)


@pytest.fixture
async def customer(world: World, pool: Pool) -> World:
    await make_customer(world, pool)
    return world


async def cast(pool: Pool, world: World) -> Funding | Code:
    """Return how a cast is paid for, or why it is refused."""
    request: AdmissionRequest = world.request()
    (verdict,) = await admit(pool, request, terms=BILLED)
    assert isinstance(verdict, Judged)
    (result,) = verdict.results
    if isinstance(result, Accepted):
        return result.funding
    assert isinstance(result, Refusal)
    return result.code


async def mails(world: World) -> list[str]:
    rows = await world.rows("SELECT event_type FROM outgoing WHERE kind = 'mail' ORDER BY created_at, event_type")
    return [row[0] for row in rows]


async def account(world: World) -> tuple[str, bool]:
    return (await world.rows("SELECT plan, subscription_active FROM accounts WHERE id = %s", world.account_id))[0]


async def invoice(pool: Pool, world: World, invoice_id: str, *, is_unpaid: bool, at: datetime) -> None:
    async with transaction(pool) as connection:
        await follow_invoice(
            connection,
            customer_id=customer_of(world.account_id),
            invoice_id=invoice_id,
            is_unpaid=is_unpaid,
            grace=GRACE,
            now=at,
        )


async def end_graces(pool: Pool, now: datetime) -> list[bool]:
    async with transaction(pool) as connection:
        accounts = await graces_over(connection, now=now)
    ended: list[bool] = []
    for account_id in accounts:
        async with transaction(pool) as connection:
            ended.append(await end_grace(connection, account_id=account_id, now=now))
    return ended


async def test_a_subscription_lets_casts_be_metered_and_its_end_stops_them(customer: World, pool: Pool) -> None:
    assert await cast(pool, customer) is Code.FREE_TIER_EXHAUSTED
    await follow(pool, customer, subscription(customer.account_id))
    assert await account(customer) == ("pro", True)
    assert await cast(pool, customer) is Funding.METERED
    await follow(pool, customer, subscription(customer.account_id, "canceled"), at=NOW + DAY)
    assert await account(customer) == ("free", False)
    assert await cast(pool, customer) is Code.FREE_TIER_EXHAUSTED


async def test_twice_is_once(customer: World, pool: Pool) -> None:
    for _ in range(2):
        await follow(pool, customer, subscription(customer.account_id, "past_due"))
    audited = await customer.rows("SELECT action, before, after FROM audit_log WHERE target_kind = 'billing'")
    assert [row[0] for row in audited] == ["billing.update"]
    assert audited[0][2] == {
        "plan": "pro",
        "status": "past_due",
        "ends_at": None,
        "grace_until": (NOW + GRACE).isoformat().replace("+00:00", "Z"),
    }
    assert await mails(customer) == ["billing.payment_failed"]


async def test_an_answer_to_an_earlier_question_is_not_believed(customer: World, pool: Pool) -> None:
    await follow(pool, customer, subscription(customer.account_id), at=NOW + DAY)
    await follow(pool, customer, subscription(customer.account_id, "canceled"), at=NOW)
    assert await account(customer) == ("pro", True)


async def test_answers_at_once_end_with_the_latest_question(customer: World, pool: Pool) -> None:
    words = ["active", "past_due", "canceled", "incomplete", "unpaid", "trialing", "canceled", "active"]
    barrier = asyncio.Barrier(len(words))

    async def one(number: int, word: str) -> None:
        await barrier.wait()
        at = NOW + number * DAY
        await follow(pool, customer, subscription(customer.account_id, word), at=at)

    await asyncio.gather(*[one(number, word) for number, word in enumerate(words)])
    assert await account(customer) == ("pro", True)
    row = (await customer.rows("SELECT status, asked_at FROM billing_accounts"))[0]
    assert row == ("active", NOW + (len(words) - 1) * DAY)


async def test_whose_customer_it_is_not_is_left_alone(customer: World, pool: Pool) -> None:
    await customer.rows("UPDATE billing_accounts SET stripe_customer_id = 'cus_other'")
    assert await follow(pool, customer, subscription(customer.account_id)) is None
    await invoice(pool, customer, "in_1", is_unpaid=True, at=NOW)
    assert await account(customer) == ("free", False)


async def test_the_way_from_a_failed_payment_to_a_paid_one(customer: World, pool: Pool) -> None:
    await follow(pool, customer, subscription(customer.account_id))
    await follow(pool, customer, subscription(customer.account_id, "past_due"), at=NOW + DAY)
    over = NOW + DAY + GRACE
    assert await cast(pool, customer) is Funding.METERED
    assert await end_graces(pool, over - timedelta(seconds=1)) == []
    assert await cast(pool, customer) is Funding.METERED
    assert await end_graces(pool, over) == [True]
    assert await end_graces(pool, over) == []
    assert await account(customer) == ("pro", False)
    assert await cast(pool, customer) is Code.PAYMENT_REQUIRED
    await customer.rows(
        "INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros) VALUES (%s, %s, 2500, 2500)",
        *(uuid4(), customer.account_id),
    )
    assert await cast(pool, customer) is Funding.CREDITS
    assert await cast(pool, customer) is Code.PAYMENT_REQUIRED
    await follow(pool, customer, subscription(customer.account_id, "active"), at=over + DAY)
    assert await cast(pool, customer) is Funding.METERED
    assert await mails(customer) == ["billing.payment_failed", "billing.grace_ended", "billing.restored"]


async def test_who_hears_late_that_the_grace_is_over_says_so_once(customer: World, pool: Pool) -> None:
    await follow(pool, customer, subscription(customer.account_id, "past_due"))
    late = NOW + GRACE + DAY
    await follow(pool, customer, subscription(customer.account_id, "unpaid"), at=late)
    assert await account(customer) == ("pro", False)
    assert await end_graces(pool, late) == []
    assert await mails(customer) == ["billing.payment_failed", "billing.grace_ended"]


async def test_a_grace_that_is_over_by_then_is_not_ended_twice_nor_when_it_was_paid(
    customer: World, pool: Pool
) -> None:
    await follow(pool, customer, subscription(customer.account_id, "past_due"))
    async with transaction(pool) as connection:
        assert await graces_over(connection, now=NOW + GRACE) == [customer.account_id]
    await follow(pool, customer, subscription(customer.account_id, "active"), at=NOW + DAY)
    async with transaction(pool) as connection:
        assert not await end_grace(connection, account_id=customer.account_id, now=NOW + GRACE)
        assert not await end_grace(connection, account_id=customer.creator_id, now=NOW + GRACE)
    assert await account(customer) == ("pro", True)


async def test_graces_end_once_however_many_look(customer: World, pool: Pool) -> None:
    await follow(pool, customer, subscription(customer.account_id, "past_due"))
    barrier = asyncio.Barrier(6)

    async def one() -> bool:
        await barrier.wait()
        async with transaction(pool) as connection:
            return await end_grace(connection, account_id=customer.account_id, now=NOW + GRACE)

    assert sorted(await asyncio.gather(*[one() for _ in range(6)])) == [False] * 5 + [True]
    assert await mails(customer) == ["billing.payment_failed", "billing.grace_ended"]


async def test_an_invoice_of_usage_that_cannot_be_collected_begins_the_same(customer: World, pool: Pool) -> None:
    await follow(pool, customer, subscription(customer.account_id))
    for _ in range(2):
        await invoice(pool, customer, "in_usage", is_unpaid=True, at=NOW + DAY)
    assert await end_graces(pool, NOW + DAY + GRACE) == [True]
    assert await cast(pool, customer) is Code.PAYMENT_REQUIRED
    await invoice(pool, customer, "in_usage", is_unpaid=False, at=NOW + 20 * DAY)
    assert await cast(pool, customer) is Funding.METERED
    assert await mails(customer) == ["billing.payment_failed", "billing.grace_ended", "billing.restored"]


async def test_the_plan_an_operator_gave_stays(customer: World, pool: Pool) -> None:
    await customer.rows("UPDATE accounts SET plan = 'enterprise' WHERE id = %s", customer.account_id)
    await follow(pool, customer)
    assert await account(customer) == ("enterprise", False)


async def test_endpoints_are_told_as_well(customer: World, pool: Pool) -> None:
    await customer.rows(
        "INSERT INTO webhook_endpoints (id, account_id, url, event_types) VALUES (%s, %s, 'https://e.example', %s)",
        *(uuid4(), customer.account_id, ["billing.*"]),
    )
    await follow(pool, customer, subscription(customer.account_id, ends_at=NOW + DAY))
    rows = await customer.rows("SELECT event_type, payload FROM outgoing WHERE kind = 'webhook'")
    assert [(kind, msgspec.json.decode(payload)["plan"]) for kind, payload in rows] == [("billing.plan_changed", "pro")]


async def test_nothing_stays_of_what_was_not_committed(customer: World, pool: Pool) -> None:
    class KilledError(Exception):
        pass

    async def follow_and_die() -> None:
        async with transaction(pool) as connection:
            await follow_subscriptions(
                connection,
                customer_id=customer_of(customer.account_id),
                found=[subscription(customer.account_id)],
                prices=PRICES,
                grace=GRACE,
                asked_at=NOW,
            )
            raise KilledError

    for _ in range(2):
        with pytest.raises(KilledError):
            await follow_and_die()
    assert await account(customer) == ("free", False)
    await follow(pool, customer, subscription(customer.account_id))
    assert await account(customer) == ("pro", True)


def test_customers_of_two_accounts_differ() -> None:
    assert customer_of(UUID(int=1)) != customer_of(UUID(int=2))
