"""What each statement about credits touches and reads, and what it must leave alone (`make mutants`)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from domain.model.credits import Balance, Kind
from domain.model.funding import GrantPart
from domain.store import credit_grants
from domain.store.connection import Pool, transaction
from domain.store.credit_grants import NewGrant, TransactionFilter
from tests.domain.store.test_statements import read_as_it_lies
from tests.domain.world import World, make_world

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


async def add(
    world: World,
    granted: int,
    balance: int,
    *,
    held: int = 0,
    priority: int = 50,
    expires_at: datetime | None = None,
    order_id: UUID | None = None,
    expired: int = 0,
    taken_back: int = 0,
) -> UUID:
    """Write a grant as it stands."""
    grant_id = uuid4()
    await world.rows(
        "INSERT INTO credit_grants (id, account_id, priority, granted_micros, balance_micros, held_micros, expires_at,"
        " order_id, expired_micros, taken_back_micros) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        *(grant_id, world.account_id, priority, granted, balance, held, expires_at, order_id, expired, taken_back),
    )
    return grant_id


async def add_order(world: World) -> UUID:
    order_id = uuid4()
    await world.rows(
        "INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros, status,"
        " created_at, granted_at) VALUES (%s, %s, 'checkout', 'starter', 1, 9, 9, 'completed', now(), now())",
        *(order_id, world.account_id),
    )
    return order_id


async def left(world: World, grant_id: UUID) -> tuple[int, int, int, int]:
    """Return balance, held, expired and taken back of a grant."""
    query = "SELECT balance_micros, held_micros, expired_micros, taken_back_micros FROM credit_grants WHERE id = %s"
    ((balance, held, expired, taken_back),) = await world.rows(query, grant_id)
    return balance, held, expired, taken_back


async def test_packages_for_sale_are_listed_by_price_and_those_of_one_price_by_name(world: World, pool: Pool) -> None:
    await world.rows("UPDATE credit_packages SET price_cents = 100 WHERE id IN ('publisher', 'author')")
    await world.rows("UPDATE credit_packages SET retired_at = now() WHERE id = 'writer'")
    # Those of one price lie there the other way round.
    await world.rows("UPDATE credit_packages SET name = name WHERE id = 'author'")
    async with transaction(pool) as connection:
        listed = await credit_grants.packages_list(connection)
        any_more = [
            await credit_grants.package_get(connection, package_id="writer", for_sale=for_sale)
            for for_sale in (True, False)
        ]
        none = await credit_grants.package_get(connection, package_id="none")
        await credit_grants.package_price_set(connection, package_id="author", stripe_price="price_1")
        sold_as = [(one.id, one.stripe_price) for one in await credit_grants.packages_list(connection)]
    assert [one.id for one in listed] == ["author", "publisher", "starter"]
    assert [one and one.id for one in any_more] == [None, "writer"]
    assert none is None
    assert sold_as == [("author", "price_1"), ("publisher", None), ("starter", None)]


async def test_a_grant_is_found_by_its_account_and_id_or_order(world: World, neighbour: World, pool: Pool) -> None:
    order_id, other_order = await add_order(world), await add_order(neighbour)
    theirs = await add(neighbour, 9, 9, order_id=other_order)
    own = await add(world, 9, 0)
    bought = await add(world, 9, 0, order_id=order_id)
    async with transaction(pool) as connection:
        by_id = {
            (who.account_id, grant_id): await credit_grants.grant_get(
                connection, account_id=who.account_id, grant_id=grant_id
            )
            for who in (world, neighbour)
            for grant_id in (own, bought, theirs)
        }
        by_order = {
            (who.account_id, one): await credit_grants.grant_of_order(
                connection, account_id=who.account_id, order_id=one
            )
            for who in (world, neighbour)
            for one in (order_id, other_order)
        }
    assert {key[1]: found.id for key, found in by_id.items() if found} == {own: own, bought: bought, theirs: theirs}
    assert len([found for found in by_id.values() if found]) == 3
    assert {key: found.id for key, found in by_order.items() if found} == {
        (world.account_id, order_id): bought,
        (neighbour.account_id, other_order): theirs,
    }


async def test_what_is_left_is_listed_in_the_order_it_is_used_up(world: World, neighbour: World, pool: Pool) -> None:
    await add(neighbour, 9, 9)
    late = await add(world, 9, 9, priority=60, expires_at=NOW)
    forever = sorted([await add(world, 9, 9) for _ in range(8)], reverse=True)
    # What lies there in the order of neither id nor use.
    await world.rows("UPDATE credit_grants SET reason = 'again' WHERE id = %s", forever[0])
    expiring = [await add(world, 9, 9, expires_at=NOW + day * timedelta(days=1)) for day in (3, 1, 2)]
    await add(world, 9, 0)
    async with transaction(pool) as connection:
        await read_as_it_lies(connection)
        alive = await credit_grants.grants_alive(connection, account_id=world.account_id)
    assert [grant.id for grant in alive] == [expiring[1], expiring[2], expiring[0], *forever[::-1], late]


async def test_who_is_given_credits_has_had_some_and_nobody_else(world: World, pool: Pool) -> None:
    async def give(who: World, order_id: UUID | None) -> bool:
        grant = NewGrant(id=uuid4(), account_id=who.account_id, micros=9, priority=50, order_id=order_id)
        async with transaction(pool) as connection:
            return await credit_grants.grant_insert(connection, grant, now=NOW)

    order_id = await add_order(world)
    assert await give(world, order_id)
    assert not await give(world, order_id)
    assert await give(world, None)
    had = await world.rows("SELECT id FROM accounts WHERE credits_ever")
    assert had == [(world.account_id,)]
    assert await world.rows("SELECT count(*) FROM credit_grants") == [(2,)]


async def test_all_that_is_free_of_a_grant_may_be_taken_and_a_micro_more_may_not(
    world: World, neighbour: World, pool: Pool
) -> None:
    async def spend(who: World, grant_id: UUID, micros: int) -> None:
        async with transaction(pool) as connection:
            parts = [GrantPart(grant_id=grant_id, micros=micros)]
            await credit_grants.grants_spend(connection, account_id=who.account_id, parts=parts)

    async def expire(who: World, grant_id: UUID, micros: int) -> None:
        async with transaction(pool) as connection:
            expired = await credit_grants.grant_expire(
                connection, account_id=who.account_id, grant_id=grant_id, micros=micros
            )
        assert expired == micros

    async def take_back(who: World, grant_id: UUID, micros: int) -> None:
        async with transaction(pool) as connection:
            await credit_grants.grant_take_back(connection, account_id=who.account_id, grant_id=grant_id, micros=micros)

    untouched = [await add(world, 100, 100, held=40), await add(neighbour, 100, 100, held=40)]
    for take, after in (
        (spend, (40, 40, 0, 0)), (expire, (40, 40, 60, 0)), (take_back, (40, 40, 0, 60)),
    ):  # fmt: skip
        grant_id = await add(world, 100, 100, held=40)
        for who, micros in ((neighbour, 60), (world, 61)):
            with pytest.raises(AssertionError):
                await take(who, grant_id, micros)
            assert await left(world, grant_id) == (100, 40, 0, 0)
        await take(world, grant_id, 60)
        assert await left(world, grant_id) == after
    assert [await left(world, grant_id) for grant_id in untouched] == [(100, 40, 0, 0)] * 2


async def test_all_that_was_taken_back_may_be_given_back_and_a_micro_more_may_not(
    world: World, neighbour: World, pool: Pool
) -> None:
    async def give_back(who: World, grant_id: UUID, micros: int) -> None:
        async with transaction(pool) as connection:
            await credit_grants.grant_give_back(connection, account_id=who.account_id, grant_id=grant_id, micros=micros)

    other, grant_id = [await add(world, 100, 10, taken_back=60) for _ in range(2)]
    for who, micros in ((neighbour, 60), (world, 61)):
        with pytest.raises(AssertionError):
            await give_back(who, grant_id, micros)
    await give_back(world, grant_id, 60)
    assert await left(world, grant_id) == (70, 0, 0, 0)
    assert await left(world, other) == (10, 0, 0, 60)


async def write(pool: Pool, world: World, micros: int, at: datetime) -> int:
    """Write down a change of the balance."""
    async with transaction(pool) as connection:
        return await credit_grants.transaction_insert(
            connection, account_id=world.account_id, kind=Kind.GRANT, amount_micros=micros, reason="", reference=None,
            now=at,
        )  # fmt: skip


async def test_changes_are_numbered_and_read_by_account_number_and_time(
    world: World, neighbour: World, pool: Pool
) -> None:
    for who, balance in ((neighbour, 7_000), (world, 500)):
        await add(who, balance, balance)
    assert [await write(pool, neighbour, 7_000, NOW) for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    instants = [NOW + second * timedelta(seconds=1) for second in range(5)]
    assert [await write(pool, world, 500, instant) for instant in instants] == [1, 2, 3, 4, 5]
    # The first lies behind the others: an index that is read backwards is not what orders them.
    await world.rows("UPDATE credit_transactions SET reason = 'again' WHERE number = 1")

    async def numbers(limit: int = 10, **wanted: object) -> list[int]:
        async with transaction(pool) as connection:
            await read_as_it_lies(connection)
            found = await credit_grants.transactions_list(
                connection, account_id=world.account_id, wanted=TransactionFilter(**wanted), limit=limit  # type: ignore[arg-type]
            )  # fmt: skip
        assert {(one.balance_before_micros, one.balance_after_micros) for one in found} <= {(0, 500)}
        return [one.number for one in found]

    assert await numbers() == [5, 4, 3, 2, 1]
    assert await numbers(2) == [5, 4]
    assert await numbers(before=3) == [2, 1]
    assert await numbers(created_after=instants[2]) == [5, 4, 3]
    assert await numbers(created_before=instants[2]) == [2, 1]
    assert await numbers(before=4, created_after=instants[1], created_before=instants[4]) == [3, 2]
    async with transaction(pool) as connection:
        one = await credit_grants.transaction_get(connection, account_id=world.account_id, number=3)
    assert (one.number, one.amount_micros) == (3, 500)


async def test_a_balance_is_of_one_account_and_tells_what_may_be_taken_now(
    world: World, neighbour: World, pool: Pool
) -> None:
    await add(neighbour, 10**9, 10**9)
    await add(world, 1_000, 400, held=30, order_id=await add_order(world), expired=7, taken_back=90)
    await add(world, 20_000, 20_000, held=500, expires_at=NOW + MICROSECOND)
    await add(world, 300_000, 300_000, expires_at=NOW)
    async with transaction(pool) as connection:
        balance = await credit_grants.balance_read(connection, account_id=world.account_id, now=NOW)
        none = await credit_grants.balance_read(connection, account_id=uuid4(), now=NOW)
    assert balance == Balance(
        balance_micros=320_400, held_micros=530, available_micros=370 + 19_500, purchased_micros=1_000,
        granted_micros=320_000, consumed_micros=503, expired_micros=7,
    )  # fmt: skip
    assert set(none.__struct_fields__) == {name for name in none.__struct_fields__ if getattr(none, name) == 0}


async def test_what_a_service_took_is_found_by_its_own_key(world: World, neighbour: World, pool: Pool) -> None:
    async def remember(caller: World, key: str, amount: int) -> bool:
        await add(world, amount, amount)
        number = await write(pool, world, amount, NOW)
        async with transaction(pool) as connection:
            return await credit_grants.consumption_insert(
                connection, consumption_id=uuid4(), account_id=world.account_id, caller_id=caller.creator_id,
                idempotency_key=key, request_hash=bytes([amount]) * 32, amount_micros=amount, number=number, now=NOW,
            )  # fmt: skip

    assert [
        await remember(world, "a", 1), await remember(world, "b", 2), await remember(neighbour, "a", 3),
        await remember(neighbour, "a", 4),
    ] == [True, True, True, False]  # fmt: skip
    async with transaction(pool) as connection:
        found = {
            (who.creator_id, key): await credit_grants.consumption_get(
                connection, caller_id=who.creator_id, idempotency_key=key
            )
            for who in (world, neighbour)
            for key in ("a", "b")
        }
    assert {key: one and one.request_hash[0] for key, one in found.items()} == {
        (world.creator_id, "a"): 1, (world.creator_id, "b"): 2, (neighbour.creator_id, "a"): 3,
        (neighbour.creator_id, "b"): None,
    }  # fmt: skip


async def test_an_account_is_named_by_its_own_id_or_its_users(world: World, neighbour: World, pool: Pool) -> None:
    users = {who.account_id: uuid4() for who in (neighbour, world)}
    for account_id, user_id in users.items():
        await world.rows("INSERT INTO users (id, account_id) VALUES (%s, %s)", user_id, account_id)
    async with transaction(pool) as connection:
        for account_id, user_id in users.items():
            assert await credit_grants.user_of_account(connection, account_id=account_id) == user_id
            for identifier in (account_id, user_id):
                assert await credit_grants.account_named(connection, identifier=identifier) == account_id
        assert await credit_grants.user_of_account(connection, account_id=uuid4()) is None
        assert await credit_grants.account_named(connection, identifier=uuid4()) is None


async def test_accounts_with_something_to_expire_are_named_once(world: World, pool: Pool) -> None:
    expiring = [await make_world(world.database_url) for _ in range(6)]
    for who in expiring:
        for _ in range(2):
            await add(who, 9, 9, held=8, expires_at=NOW)
    await add(world, 9, 9, expires_at=NOW + MICROSECOND)
    await add(world, 9, 9, held=9, expires_at=NOW)
    await add(world, 9, 0, expires_at=NOW)
    await add(world, 9, 9)
    async with transaction(pool) as connection:
        everybody = await credit_grants.accounts_expiring(connection, now=NOW, limit=10)
        some = await credit_grants.accounts_expiring(connection, now=NOW, limit=2)
    assert sorted(everybody) == sorted(who.account_id for who in expiring)
    assert len(some) == 2
