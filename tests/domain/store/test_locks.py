"""Whose locks admission and settlement take, and in which order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.flow.settle import settle, settle_as_read
from domain.store import admission, settlement, usage
from domain.store.connection import Connection, LockTimeoutError, Pool, brief_transaction, transaction
from domain.store.exchange import exchange
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TOKEN_KEY, World, make_world

LOCKS = [
    pytest.param(admission, id="admission"),
    pytest.param(settlement, id="settlement"),
    pytest.param(settlement.lock_read, id="settlement_as_read"),
]
# For a lock that is asked for at once; longer than that only when nobody ever asks.
WAIT_SECONDS_MAX = 60.0


async def be_patient(connection: Connection) -> None:
    """A busy machine may take longer over a test than a platform may over a statement."""
    for name in (b"lock_timeout", b"statement_timeout", b"idle_in_transaction_session_timeout"):
        await connection.execute(b"SET LOCAL " + name + b" = '120s'")


@asynccontextmanager
async def held(pool: Pool, account_id: UUID) -> AsyncGenerator[None]:
    """Hold an account's lock. Raises LockTimeoutError when somebody else has it."""
    async with transaction(pool) as connection:
        await settlement.lock_account(connection, account_id)
        await be_patient(connection)
        yield


async def lay_behind(early: World, late: World) -> None:
    """Have the earlier account lie behind the later one in the table: an update moves a row into any free place."""
    for _ in range(100):
        query = "SELECT id FROM accounts WHERE id IN (%s, %s) ORDER BY ctid"
        if await early.rows(query, early.account_id, late.account_id) == [(late.account_id,), (early.account_id,)]:
            return
        await early.rows("UPDATE accounts SET handle = handle WHERE id = %s", early.account_id)
    message = "the earlier account stays before the later one"
    raise AssertionError(message)


async def lock(connection: Connection, store: Any, ids: list[UUID], *, skip_locked: bool = False) -> set[UUID]:
    if store is settlement:
        locked, _, _ = await settlement.lock_and_read(connection, ids, skip_locked=skip_locked)
        return locked
    if store is settlement.lock_read:
        casts, _ = await settlement.read(connection, ids)
        await settlement.lock_read(connection, casts)
        return {cast.account_id for cast in casts}
    locked, _ = await admission.lock_and_read(
        connection, account_ids=ids, key_ids=[], idempotency=(), billing_enabled=False, skip_locked=skip_locked
    )
    return locked


async def until_somebody_waits(pool: Pool) -> None:
    query = b"SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            async with transaction(pool) as connection:
                row = await (await connection.execute(query)).fetchone()
            if row is not None and row[0]:
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("store", LOCKS)
async def test_accounts_are_locked_in_order_of_their_ids(
    world: World, neighbour: World, pool: Pool, store: Any
) -> None:
    """Who waits for the later one holds the earlier one, however the table lies on the disk: no two can deadlock."""
    worlds = sorted((world, neighbour), key=lambda one: one.account_id)
    (early,), (late,) = [await accept(one, pool) for one in worlds]
    await lay_behind(worlds[0], worlds[1])
    asked = [late.cast_id, early.cast_id] if store is not admission else [one.account_id for one in worlds[::-1]]

    async def lock_both() -> None:
        async with transaction(pool) as connection:
            await connection.execute(b"DISCARD PLANS")  # what was planned by key already would stay so
            await connection.execute(b"SET LOCAL enable_seqscan = on")
            await connection.execute(b"SET LOCAL enable_hashjoin = on")
            await connection.execute(b"SET LOCAL enable_indexscan = off")
            await connection.execute(b"SET LOCAL enable_bitmapscan = off")
            await be_patient(connection)
            assert await lock(connection, store, asked) == {one.account_id for one in worlds}

    async with asyncio.TaskGroup() as group, held(pool, worlds[1].account_id):
        group.create_task(lock_both())
        await until_somebody_waits(pool)
        with pytest.raises(LockTimeoutError):
            async with held(pool, worlds[0].account_id):
                pass


@pytest.mark.parametrize("store", LOCKS[:2])
async def test_only_free_accounts_that_are_asked_for_are_locked(
    world: World, neighbour: World, database_url: str, pool: Pool, store: Any
) -> None:
    stranger = await make_world(database_url)
    # The stranger's cast lies between the two that are asked for.
    (first,), _, (last,) = [await accept(one, pool) for one in (world, stranger, neighbour)]
    asked = [first.cast_id, last.cast_id] if store is not admission else [world.account_id, neighbour.account_id]
    async with held(pool, neighbour.account_id), transaction(pool) as connection:
        assert await lock(connection, store, asked, skip_locked=True) == {world.account_id}
        with pytest.raises(LockTimeoutError):
            async with held(pool, world.account_id):
                pass
        async with held(pool, stranger.account_id):
            pass


@pytest.mark.parametrize("store", LOCKS)
async def test_nobody_waits_for_an_account_that_is_not_asked_for(
    world: World, neighbour: World, pool: Pool, store: Any
) -> None:
    # The neighbour's cast lies between the two that are asked for.
    (first,), _, (last,) = [await accept(one, pool) for one in (world, neighbour, world)]
    async with held(pool, neighbour.account_id), transaction(pool) as connection:
        asked = [first.cast_id, last.cast_id] if store is not admission else [world.account_id]
        assert await lock(connection, store, asked) == {world.account_id}


async def test_who_settles_waits_for_an_account_before_anything_of_it_is_locked(world: World, pool: Pool) -> None:
    """Whoever has the account's lock ends its casts, and would wait for who waits for him."""
    (job,) = await accept(world, pool)

    async def settle_patiently() -> None:
        async with brief_transaction(pool) as connection:
            await exchange(connection, (b"SET LOCAL lock_timeout = '120s'", {}))
            await settle_as_read(connection, [event_of(job)], batch_id=uuid4(), token_key=TOKEN_KEY)

    async with asyncio.TaskGroup() as group, transaction(pool) as holder:
        await settlement.lock_account(holder, world.account_id)
        await be_patient(holder)
        group.create_task(settle_patiently())
        await until_somebody_waits(pool)
        await holder.execute(b"SELECT FROM casts FOR UPDATE NOWAIT")
    assert await broken(world.database_url) == {}


async def test_counters_are_raised_in_order(world: World, database_url: str, pool: Pool) -> None:
    """Or two ledgers that settle casts of two spells, or count two accounts, could wait for each other."""
    worlds = [world, *[await make_world(database_url) for _ in range(7)]]
    jobs = [job for one in worlds for job in await accept(one, pool)]
    async with transaction(pool) as connection:
        # Rows that are sorted to be grouped come in order whatever the statement says.
        await connection.execute(b"SET LOCAL enable_sort = off")
        await settle(connection, [event_of(job) for job in jobs], batch_id=uuid4(), token_key=TOKEN_KEY)
    written = await world.rows("SELECT account_id, dimension, subject_id FROM usage_counters ORDER BY tableoid, ctid")
    assert written == sorted((one.creator_id, "spell", one.spell_id) for one in worlds)
    async with transaction(pool) as connection:
        await connection.execute(b"SET LOCAL enable_sort = off")
        assert await usage.count(connection) == len(jobs)
    written = await world.rows(
        "SELECT account_id, dimension, subject_id FROM usage_counters WHERE dimension <> 'spell'"
        " ORDER BY tableoid, ctid"
    )
    assert (len(written), written) == (3 * len(worlds), sorted(written))
