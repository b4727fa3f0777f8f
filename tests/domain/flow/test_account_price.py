"""What was agreed on with one account holds for it alone, and only while it is on plan enterprise."""

from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest

from domain.flow.make_quote import make_quote
from domain.flow.price_book import set_prices
from domain.flow.set_account_price import AgreedPrice, set_account_price
from domain.flow.settle import settle
from domain.model.admission import Accepted, Judged
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.model.pricing import Price
from domain.store import prices
from domain.store.connection import Pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import PRICE, TERMS, TOKEN_KEY, World, admit

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CHEAP = AgreedPrice(per_cast_micros=300, per_gfuel_micros=200)


def handle(world: World) -> str:
    return f"a{world.account_id.hex[:12]}"


async def agree(pool: Pool, name: str, agreed: AgreedPrice | None = CHEAP) -> Price:
    async with transaction(pool) as connection:
        return await set_account_price(connection, handle=name, agreed=agreed, actor=OPERATOR, now=NOW)


async def held(pool: Pool, world: World) -> tuple[int, int]:
    """Return which version a cast is accepted under, and what it holds."""
    (verdict,) = await admit(pool, world.request())
    assert isinstance(verdict, Judged)
    (result,) = verdict.results
    assert isinstance(result, Accepted)
    return result.price_version, result.held_micros


async def test_the_account_alone_pays_it(world: World, pool: Pool) -> None:
    agreed = await agree(pool, handle(world))
    assert (agreed.version, agreed.per_cast_micros, agreed.per_gfuel_micros) == (2, 300, 200)
    assert await held(pool, world) == (2, 500)
    other = msgspec.structs.replace(world, account_id=world.creator_id, key_id=world.key_id)
    request = msgspec.structs.replace(other.request(), key_id=None)
    (verdict,) = await admit(pool, request)
    assert isinstance(verdict, Judged)
    assert [result.price_version for result in verdict.results if isinstance(result, Accepted)] == [1]
    async with transaction(pool) as connection:
        assert await prices.price_latest(connection) == PRICE


async def test_it_is_settled_by_what_it_was_accepted_under(world: World, pool: Pool) -> None:
    await agree(pool, handle(world))
    (job,) = await accept(world, pool)
    await agree(pool, handle(world), None)
    async with transaction(pool) as connection:
        await settle(connection, [event_of(job)], batch_id=uuid4(), token_key=TOKEN_KEY)
    (cost, version) = (await world.rows("SELECT cost_micros, price_version FROM casts"))[0]
    assert version == 2
    assert 300 < cost <= 500
    assert await broken(world.database_url) == {}


async def test_twice_is_once_and_back_is_back(world: World, pool: Pool) -> None:
    assert [(await agree(pool, handle(world))).version for _ in range(2)] == [2, 2]
    assert (await agree(pool, handle(world), AgreedPrice(per_cast_micros=301, per_gfuel_micros=200))).version == 3
    assert [(await agree(pool, handle(world), None)).version for _ in range(2)] == [1, 1]
    assert await held(pool, world) == (1, 2_500)
    audited = await world.rows("SELECT after FROM audit_log WHERE target_kind = 'account' ORDER BY id")
    assert sorted(str(row[0]["price_version"]) for row in audited) == ["2", "3", "None"]


async def test_it_counts_on_plan_enterprise_alone(world: World, pool: Pool) -> None:
    await agree(pool, handle(world))
    assert (await world.rows("SELECT plan FROM accounts WHERE id = %s", world.account_id))[0][0] == "enterprise"
    await world.rows("UPDATE accounts SET plan = 'pro' WHERE id = %s", world.account_id)
    assert await held(pool, world) == (1, 2_500)


async def test_a_quote_promises_it(world: World, pool: Pool) -> None:
    await agree(pool, handle(world))
    async with transaction(pool) as connection:
        quote = await make_quote(
            connection,
            world.spec(),
            quote_id=uuid4(),
            account_id=world.account_id,
            spell="ada/wordcount",
            version="1.0.0",
        )
    assert (quote.price.version, quote.max_price_micros) == (2, 500)


async def test_the_next_price_of_everybody_takes_the_next_number(world: World, pool: Pool) -> None:
    await agree(pool, handle(world))
    async with transaction(pool) as connection:
        made = await set_prices(
            connection,
            account_id=world.creator_id,
            per_cast_micros=7,
            per_gfuel_micros=8,
            platform_share_percent=20,
            actor=OPERATOR,
            now=NOW,
        )
        assert made.version == 3
        assert await prices.price_latest(connection) == made
    assert (await held(pool, world))[0] == 2


@pytest.mark.parametrize("name", ["nobody", "local"])
async def test_whom_there_is_not(world: World, pool: Pool, name: str) -> None:
    await world.rows("INSERT INTO accounts (id, handle, kind) VALUES (%s, 'local', 'platform')", uuid4())
    with pytest.raises(RefusedError) as caught:
        await agree(pool, name)
    assert caught.value.refusal.code is Code.NOT_FOUND


async def test_before_the_first_release(world: World, pool: Pool) -> None:
    await world.rows("DELETE FROM price_book")
    with pytest.raises(RefusedError) as caught:
        await agree(pool, handle(world))
    assert caught.value.refusal.code is Code.OVERLOADED


def test_terms_of_the_world_are_those_of_everybody() -> None:
    assert TERMS.price == PRICE
