import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from domain.flow.create_user import PLATFORM_HANDLE, RUNTIME_HANDLE, CreatedUser, create_user, ensure_platform_account
from domain.flow.price_book import set_prices
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.model.pricing import Price
from domain.store import prices
from domain.store.connection import Pool, transaction
from tests.domain.world import World

NOW = datetime(2026, 11, 20, tzinfo=UTC)


async def user(pool: Pool, handle: str, email: str | None = None) -> CreatedUser:
    async with transaction(pool) as connection:
        return await create_user(
            connection,
            user_id=uuid4(),
            account_id=uuid4(),
            handle=handle,
            email=email,
            plan="free",
            billing="auto",
            now=NOW,
            actor=OPERATOR,
        )


async def price(pool: Pool, per_cast: int) -> Price:
    async with transaction(pool) as connection:
        platform = await ensure_platform_account(connection, account_id=uuid4(), now=NOW)
        return await set_prices(
            connection,
            per_cast_micros=per_cast,
            per_gfuel_micros=1_500,
            platform_share_percent=20,
            now=NOW,
            actor=OPERATOR,
            account_id=platform.id,
        )


async def test_a_user_is_made_once(world: World, pool: Pool) -> None:
    results = await asyncio.gather(*(user(pool, "grace", "g@example.org") for _ in range(5)))
    assert [result.made for result in results].count(True) == 1
    assert len({result.account.id for result in results}) == 1
    assert await world.rows("SELECT count(*) FROM users WHERE email = 'g@example.org'") == [(1,)]
    with pytest.raises(RefusedError) as caught:
        await user(pool, "grace", "other@example.org")
    assert caught.value.refusal.code is Code.CONFLICT


@pytest.mark.parametrize("handle", ["", "Grace", "-g", "g-", "g" * 40, "g/h", "g\0"])
async def test_a_handle_of_the_wrong_form_is_refused(pool: Pool, handle: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await user(pool, handle)
    assert caught.value.refusal.code is Code.VALIDATION


@pytest.mark.parametrize("handle", [PLATFORM_HANDLE, RUNTIME_HANDLE])
async def test_the_platforms_account_is_made_once_and_nobodys(world: World, pool: Pool, handle: str) -> None:
    made = []
    for _ in range(2):
        async with transaction(pool) as connection:
            made.append(await ensure_platform_account(connection, account_id=uuid4(), now=NOW, handle=handle))
    assert made[0] == made[1]
    assert (made[0].kind, made[0].billing) == ("platform", "off")
    with pytest.raises(RefusedError) as caught:
        await user(pool, handle)
    assert caught.value.refusal.code is Code.CONFLICT
    await world.rows("UPDATE accounts SET kind = 'personal' WHERE handle = %s", handle)
    async with transaction(pool) as connection:
        with pytest.raises(RefusedError) as caught:
            await ensure_platform_account(connection, account_id=uuid4(), now=NOW, handle=handle)
    assert caught.value.refusal.code is Code.CONFLICT


async def test_prices_become_a_version_only_when_they_changed(pool: Pool) -> None:
    async with transaction(pool) as connection:
        assert await prices.price_latest(connection) is None
    results = await asyncio.gather(*(price(pool, 1_000) for _ in range(5)))
    assert {result.version for result in results} == {1}
    assert (await price(pool, 2_000)).version == 2
    assert (await price(pool, 2_000)).version == 2
    assert (await price(pool, 1_000)).version == 3
    async with transaction(pool) as connection:
        assert [row.per_cast_micros for row in await prices.prices_list(connection)] == [1_000, 2_000, 1_000]
