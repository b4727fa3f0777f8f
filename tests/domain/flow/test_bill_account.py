"""The steps of buying: each may run twice, and of two at once one counts."""

import asyncio

import pytest

from domain.flow.bill_account import begin_billing, keep_checkout, keep_customer, pause_spending
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.store import billing
from domain.store.connection import Pool, transaction
from tests.domain.paying import NOW
from tests.domain.world import World


async def begin(pool: Pool, world: World) -> str | None:
    async with transaction(pool) as connection:
        payer = await begin_billing(connection, account_id=world.account_id)
    assert (payer.billing.status, payer.billing.plan, payer.handle) == ("none", "free", f"a{world.account_id.hex[:12]}")
    return payer.email


async def test_beginning_twice_is_beginning_once(world: World, pool: Pool) -> None:
    assert await begin(pool, world) is None
    await world.rows(
        "INSERT INTO users (id, account_id, email) VALUES (gen_random_uuid(), %s, 'ada@example.com')", world.account_id
    )
    assert await begin(pool, world) == "ada@example.com"
    assert len(await world.rows("SELECT 1 FROM billing_accounts")) == 1


async def test_a_suspended_account_buys_nothing(world: World, pool: Pool) -> None:
    await world.rows("UPDATE accounts SET status = 'suspended' WHERE id = %s", world.account_id)
    with pytest.raises(RefusedError) as caught:
        await begin(pool, world)
    assert caught.value.refusal.code is Code.FORBIDDEN


async def test_an_account_has_one_customer(world: World, pool: Pool) -> None:
    await begin(pool, world)
    barrier = asyncio.Barrier(6)

    async def one(customer_id: str) -> str:
        await barrier.wait()
        async with transaction(pool) as connection:
            return await keep_customer(
                connection, account_id=world.account_id, customer_id=customer_id, instead_of=None
            )

    kept = set(await asyncio.gather(*[one(f"cus_{number}") for number in range(6)]))
    assert len(kept) == 1
    async with transaction(pool) as connection:
        (first,) = kept
        again = await keep_customer(connection, account_id=world.account_id, customer_id="cus_9", instead_of="cus_8")
        assert again == first
        last = await keep_customer(connection, account_id=world.account_id, customer_id="cus_9", instead_of=first)
        assert last == "cus_9"
        assert await billing.account_of_customer(connection, customer_id="cus_9") == world.account_id
        assert await billing.account_of_customer(connection, customer_id=first) is None


async def test_the_page_before_is_named_once(world: World, pool: Pool) -> None:
    await begin(pool, world)

    async def keep(session_id: str) -> str | None:
        async with transaction(pool) as connection:
            return await keep_checkout(connection, account_id=world.account_id, session_id=session_id)

    assert [await keep(name) for name in ("cs_1", "cs_1", "cs_2", "cs_2")] == [None, None, "cs_1", None]


async def test_of_pages_opened_at_once_all_but_one_are_named_to_be_ended(world: World, pool: Pool) -> None:
    await begin(pool, world)
    barrier = asyncio.Barrier(6)

    async def keep(session_id: str) -> str | None:
        await barrier.wait()
        async with transaction(pool) as connection:
            return await keep_checkout(connection, account_id=world.account_id, session_id=session_id)

    pages = {f"cs_{number}" for number in range(6)}
    ended = [one for one in await asyncio.gather(*[keep(page) for page in sorted(pages)]) if one is not None]
    (kept,) = (await world.rows("SELECT checkout_session_id FROM billing_accounts"))[0]
    assert sorted([*ended, kept]) == sorted(pages)


async def test_pausing_twice_is_pausing_once(world: World, pool: Pool) -> None:
    async def pause(*, paused: bool) -> bool:
        async with transaction(pool) as connection:
            return await pause_spending(connection, account_id=world.account_id, paused=paused, actor=OPERATOR, now=NOW)

    assert [await pause(paused=paused) for paused in (True, True, False, False)] == [True, False, True, False]
    rows = await world.rows("SELECT action FROM audit_log WHERE target_kind = 'spending'")
    assert sorted(row[0] for row in rows) == ["spending.pause", "spending.resume"]


async def test_a_month_without_casts(world: World, pool: Pool) -> None:
    async with transaction(pool) as connection:
        assert await billing.month_get(connection, account_id=world.account_id, now=NOW) == billing.MonthSoFar()
