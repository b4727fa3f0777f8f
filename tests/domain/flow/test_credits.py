"""Credits that are given, taken by services, and expire."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from domain.flow.consume_credits import Consume, Consumed, consume_credits
from domain.flow.creation import IdempotentCall
from domain.flow.expire_credits import expire_credits
from domain.flow.grant_credits import grant_credits
from domain.flow.refund_cast import refund_cast
from domain.model.audit import OPERATOR
from domain.model.credits import Reference
from domain.model.errors import Code, RefusedError
from domain.store.connection import Pool, transaction
from domain.store.credit_grants import (
    NewGrant,
    TransactionFilter,
    account_named,
    accounts_expiring,
    packages_list,
    transactions_list,
    user_of_account,
)
from domain.store.credit_orders import orders_list
from tests.domain.admitted import accept
from tests.domain.credit_books import NOW, broken_credits, give, grants, history, ledger, order
from tests.domain.events import event_of
from tests.domain.store.test_statements import settle_all
from tests.domain.world import HOLD, World, make_world

LATER = NOW + timedelta(days=1)


async def consume(
    world: World,
    pool: Pool,
    micros: int,
    *,
    key: str | None = None,
    body: bytes = b"h",
    caller_id: UUID | None = None,
) -> Consumed:
    wanted = Consume(
        id=uuid4(),
        account_id=world.account_id,
        caller_id=caller_id or world.creator_id,
        micros=micros,
        reason="a chapter",
        reference=Reference(type="chapter", id="7"),
    )
    call = None if key is None else IdempotentCall(key=key, request_hash=body.ljust(32, b"."))
    async with transaction(pool) as connection:
        return await consume_credits(connection, wanted, call=call, actor=OPERATOR, now=NOW)


async def expire(world: World, pool: Pool) -> int:
    async with transaction(pool) as connection:
        return await expire_credits(connection, account_id=world.account_id, now=LATER)


async def refused(work: object) -> Code:
    with pytest.raises(RefusedError) as caught:
        await work  # type: ignore[misc]
    return caught.value.refusal.code


async def test_a_grant_is_given_once(world: World, pool: Pool) -> None:
    grant = NewGrant(id=uuid4(), account_id=world.account_id, micros=700, priority=50, reason="sorry")
    for _ in range(2):
        async with transaction(pool) as connection:
            made = await grant_credits(connection, grant, actor=OPERATOR, now=NOW)
        assert (made.id, made.balance_micros, made.reason) == (grant.id, 700, "sorry")
    call = IdempotentCall(key="once", request_hash=b"h" * 32)
    for _ in range(2):
        again = NewGrant(id=uuid4(), account_id=world.account_id, micros=300, priority=50)
        async with transaction(pool) as connection:
            made = await grant_credits(connection, again, actor=OPERATOR, call=call, now=NOW)
    assert made.granted_micros == 300
    assert await history(world) == [("grant", 700, 700), ("grant", 300, 1_000)]
    assert await ledger(world) == {("promotion", "credits"): 1_000}
    audited = await world.rows("SELECT count(*) FROM audit_log WHERE action = 'credits.grant'")
    assert audited == [(2,)]
    assert await broken_credits(world.database_url) == {}


async def test_a_grant_that_makes_no_sense_is_refused(world: World, pool: Pool) -> None:
    async def give_wrong(**wrong: object) -> None:
        terms = {"account_id": world.account_id, "micros": 1, "priority": 50, **wrong}
        async with transaction(pool) as connection:
            await grant_credits(connection, NewGrant(id=uuid4(), **terms), actor=OPERATOR, now=NOW)  # type: ignore[arg-type]

    for wrong in ({"micros": 0}, {"micros": -1}, {"micros": 10**15}, {"priority": -1}, {"priority": 1_001}):
        assert await refused(give_wrong(**wrong)) is Code.VALIDATION
    assert await refused(give_wrong(expires_at=NOW)) is Code.VALIDATION
    assert await refused(give_wrong(account_id=uuid4())) is Code.NOT_FOUND


async def test_gifts_go_before_what_was_bought_and_what_expires_before_what_does_not(world: World, pool: Pool) -> None:
    await give(world, pool, 100, priority=100)
    await give(world, pool, 100, expires_at=LATER)
    await give(world, pool, 100)
    await consume(world, pool, 150)
    assert await grants(world) == [(0, 0), (50, 0), (100, 0)]
    await consume(world, pool, 100)
    assert await grants(world) == [(0, 0), (0, 0), (50, 0)]
    assert await history(world) == [
        ("grant", 100, 100), ("grant", 100, 200), ("grant", 100, 300), ("consume", -150, 150), ("consume", -100, 50),
    ]  # fmt: skip
    assert (await ledger(world))["credits", "revenue"] == 250
    assert await broken_credits(world.database_url) == {}


async def test_consuming_takes_all_of_it_or_nothing(world: World, pool: Pool) -> None:
    await give(world, pool, 100)
    assert await refused(consume(world, pool, 101)) is Code.INSUFFICIENT_CREDITS
    await consume(world, pool, 100)
    assert await refused(consume(world, pool, 1)) is Code.INSUFFICIENT_CREDITS
    assert await grants(world) == [(0, 0)]


async def test_consuming_leaves_what_open_casts_hold(world: World, pool: Pool) -> None:
    await give(world, pool, HOLD + 100)
    (job,) = await accept(world, pool, world.spec())
    assert await refused(consume(world, pool, 101)) is Code.INSUFFICIENT_CREDITS
    await consume(world, pool, 100)
    assert await grants(world) == [(HOLD, HOLD)]
    await settle_all(pool, event_of(job))
    assert await grants(world) == [(HOLD - 1_002, 0)]
    assert await broken_credits(world.database_url) == {}


async def test_the_same_call_consumes_once_and_another_under_its_key_is_refused(world: World, pool: Pool) -> None:
    await give(world, pool, 1_000)
    first = await consume(world, pool, 400, key="k")
    again = await consume(world, pool, 400, key="k")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.transaction == first.transaction
    assert await refused(consume(world, pool, 500, key="k", body=b"other")) is Code.IDEMPOTENCY_KEY_REUSED
    other = await make_world(world.database_url)
    await give(other, pool, 1_000)
    assert await refused(consume(other, pool, 400, key="k", caller_id=world.creator_id)) is Code.IDEMPOTENCY_KEY_REUSED
    await consume(other, pool, 400, key="k")  # of another service
    assert await grants(world) == [(600, 0)]
    assert await broken_credits(world.database_url) == {}


async def test_twenty_equal_calls_at_one_moment_consume_once(world: World, pool: Pool) -> None:
    await give(world, pool, 10_000)
    barrier = asyncio.Barrier(20)

    async def one() -> Consumed:
        await barrier.wait()
        return await consume(world, pool, 400, key="k")

    found = await asyncio.gather(*(one() for _ in range(20)))
    assert sorted(result.replayed for result in found) == [False] + [True] * 19
    assert await grants(world) == [(9_600, 0)]


async def test_a_key_used_for_two_accounts_at_one_moment_takes_from_one(world: World, pool: Pool) -> None:
    other = await make_world(world.database_url)
    barrier = asyncio.Barrier(2)

    async def one(who: World) -> Consumed:
        await give(who, pool, 1_000)
        await barrier.wait()
        return await consume(who, pool, 400, key="k", caller_id=world.creator_id)

    found = await asyncio.gather(one(world), one(other), return_exceptions=True)
    (error,) = [result for result in found if isinstance(result, RefusedError)]
    assert error.refusal.code is Code.IDEMPOTENCY_KEY_REUSED
    assert len([result for result in found if isinstance(result, Consumed)]) == 1
    assert sorted(await grants(world) + await grants(other)) == [(600, 0), (1_000, 0)]
    assert await broken_credits(world.database_url) == {}


async def test_what_is_left_of_a_grant_expires_once(world: World, pool: Pool) -> None:
    await give(world, pool, 1_000, expires_at=LATER)
    await give(world, pool, 70, expires_at=LATER + timedelta(seconds=1))
    await give(world, pool, 7)
    await consume(world, pool, 400)
    async with transaction(pool) as connection:
        assert await accounts_expiring(connection, now=LATER, limit=10) == [world.account_id]
    assert await expire(world, pool) == 600
    assert await expire(world, pool) == 0
    async with transaction(pool) as connection:
        assert await accounts_expiring(connection, now=LATER, limit=10) == []
    assert await grants(world) == [(0, 0), (70, 0), (7, 0)]
    assert (await ledger(world))["credits", "breakage"] == 600
    assert (await history(world))[-1] == ("expiry", -600, 77)
    assert await broken_credits(world.database_url) == {}


async def test_expired_credits_are_not_taken_before_the_clock_comes_by(world: World, pool: Pool) -> None:
    await give(world, pool, 1_000, expires_at=NOW + timedelta(seconds=1))
    await world.rows("UPDATE credit_grants SET expires_at = %s", NOW)
    assert await refused(consume(world, pool, 1)) is Code.INSUFFICIENT_CREDITS


async def test_expiry_leaves_what_open_casts_hold_and_comes_again_for_the_rest(world: World, pool: Pool) -> None:
    """Held by a cast when its time came, released when the cast cost less than its hold."""
    await give(world, pool, 10_000, expires_at=LATER + timedelta(days=3_650))
    (job,) = await accept(world, pool, world.spec())
    await world.rows("UPDATE credit_grants SET expires_at = %s", LATER)
    assert await expire(world, pool) == 10_000 - HOLD
    assert await grants(world) == [(HOLD, HOLD)]
    assert await expire(world, pool) == 0
    await settle_all(pool, event_of(job))
    assert await expire(world, pool) == HOLD - 1_002
    assert await grants(world) == [(0, 0)]
    assert [row[:2] for row in await history(world)][1:] == [
        ("expiry", HOLD - 10_000), ("casts", -1_002), ("expiry", 1_002 - HOLD),
    ]  # fmt: skip
    assert await broken_credits(world.database_url) == {}


async def test_what_a_refund_gives_back_to_an_expired_grant_expires_too(world: World, pool: Pool) -> None:
    """As much as was left before: the second expiry is another one all the same."""
    await give(world, pool, HOLD, expires_at=LATER + timedelta(days=3_650))
    (job,) = await accept(world, pool, world.spec())
    await settle_all(pool, event_of(job))
    await consume(world, pool, HOLD - 2 * 1_002)
    await world.rows("UPDATE credit_grants SET expires_at = %s", LATER)
    assert await expire(world, pool) == 1_002
    async with transaction(pool) as connection:
        await refund_cast(connection, cast_id=job.cast_id, reason="sorry", actor=OPERATOR, now=LATER)
    assert await expire(world, pool) == 1_002
    assert await expire(world, pool) == 0
    assert (await ledger(world))["credits", "breakage"] == 2 * 1_002
    assert await broken_credits(world.database_url) == {}


async def test_history_and_orders_are_read_in_pages_newest_first(world: World, pool: Pool) -> None:
    for micros in (1, 2, 3):
        await give(world, pool, micros)
    bought = [await order(world, pool) for _ in range(3)]
    own = world.account_id
    async with transaction(pool) as connection:
        first = await transactions_list(connection, account_id=own, wanted=TransactionFilter(), limit=2)
        rest = await transactions_list(connection, account_id=own, wanted=TransactionFilter(before=2), limit=2)
        none = await transactions_list(
            connection, account_id=own, wanted=TransactionFilter(created_after=LATER), limit=2
        )
        newest = await orders_list(connection, account_id=own, before=None, limit=2)
        last = (newest[-1].created_at, newest[-1].id)
        older = await orders_list(connection, account_id=own, before=last, limit=2)
        assert [one.id for one in await packages_list(connection)] == ["starter", "writer", "author", "publisher"]
        user = await user_of_account(connection, account_id=own)
        named = [await account_named(connection, identifier=one) for one in (own, uuid4())]
    assert [one.amount_micros for one in (*first, *rest)] == [3, 2, 1]
    assert none == []
    assert [one.id for one in (*newest, *older)] == bought[::-1]
    assert (user, named) == (None, [own, None])
    assert await broken_credits(world.database_url) == {}
