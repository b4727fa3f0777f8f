"""How long the data of casts is kept: set by the account, written at the gate, dropped in pieces, rows stay."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from domain.flow import drop_data
from domain.flow.drop_data import drop_expired, drop_read
from domain.flow.set_data_days import set_data_days
from domain.flow.settle import settle
from domain.model.audit import OPERATOR
from domain.model.errors import Code, RefusedError
from domain.model.messages import CastJob
from domain.store.connection import Pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.invariants import broken
from tests.domain.world import TOKEN_KEY, World

DATA = "SELECT input IS NOT NULL, output IS NOT NULL, log IS NOT NULL FROM casts WHERE id = %s"
KEPT, GONE = [(True, True, True)], [(False, False, False)]


async def ended(world: World, pool: Pool, count: int = 1) -> list[CastJob]:
    jobs = await accept(world, pool, *[world.spec()] * count)
    async with transaction(pool) as connection:
        await settle(connection, [event_of(job, log=b"log") for job in jobs], batch_id=uuid4(), token_key=TOKEN_KEY)
    return jobs


async def keep(world: World, days: int) -> None:
    await world.rows("UPDATE accounts SET data_days = %s WHERE id = %s", days, world.account_id)


async def expiry(world: World, cast_id: UUID) -> datetime:
    return (await world.rows("SELECT data_expires_at FROM casts WHERE id = %s", cast_id))[0][0]


async def drop(pool: Pool, now: datetime) -> int:
    async with transaction(pool) as connection:
        return await drop_expired(connection, now=now)


async def read(pool: Pool, *ids: UUID) -> int:
    async with transaction(pool) as connection:
        return await drop_read(connection, ids)


@pytest.mark.parametrize(
    ("days", "least", "most", "once"),
    [
        (30, timedelta(days=30), timedelta(days=30, hours=1), False),
        (90, timedelta(days=90), timedelta(days=90, hours=1), False),
        (1, timedelta(days=1), timedelta(days=1, hours=1), False),
        (0, timedelta(hours=22, minutes=59), timedelta(days=1), True),
    ],
)
async def test_the_account_says_how_long(
    world: World, pool: Pool, days: int, least: timedelta, most: timedelta, *, once: bool
) -> None:
    await keep(world, days)
    (job,) = await ended(world, pool)
    expires_at = await expiry(world, job.cast_id)
    assert least < expires_at - datetime.now(UTC) <= most
    assert (expires_at.minute, expires_at.second, expires_at.microsecond) == (0, 0, 0)
    assert await world.rows("SELECT data_once FROM casts") == [(once,)]


async def test_a_change_of_the_days_leaves_what_was_promised(world: World, pool: Pool) -> None:
    (before,) = await ended(world, pool)
    promised = await expiry(world, before.cast_id)
    await keep(world, 1)
    (after,) = await ended(world, pool)
    assert await expiry(world, before.cast_id) == promised
    assert await expiry(world, after.cast_id) < promised


async def test_expired_data_is_dropped_once_and_the_cast_stays(world: World, pool: Pool) -> None:
    (job,) = await ended(world, pool)
    expires_at = await expiry(world, job.cast_id)
    row = "SELECT status, cost_micros, fuel, exit_code, metadata, data_expires_at FROM casts"
    as_it_was = await world.rows(row)
    assert await drop(pool, expires_at - timedelta(microseconds=1)) == 0
    assert await world.rows(DATA, job.cast_id) == KEPT
    assert await drop(pool, expires_at) == 1
    assert await drop(pool, expires_at) == 0
    assert await world.rows(DATA, job.cast_id) == GONE
    (left,) = await world.rows(row)
    assert left[:5] == as_it_was[0][:5]
    assert left[5] <= as_it_was[0][5]
    assert await broken(world.database_url) == {}


async def test_an_open_cast_keeps_its_input_however_old_it_is(world: World, pool: Pool) -> None:
    (job,) = await accept(world, pool)
    assert await drop(pool, datetime.now(UTC) + timedelta(days=10_000)) == 0
    assert await read(pool, job.cast_id) == 0
    assert await world.rows("SELECT input FROM casts") == [(b"{}",)]


async def test_a_run_takes_a_bounded_piece_and_the_oldest_first(
    world: World, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = await ended(world, pool, 2)
    await keep(world, 1)
    early = await ended(world, pool, 2)
    monkeypatch.setattr(drop_data, "DROP_AT_ONCE_MAX", 2)
    now = datetime.now(UTC) + timedelta(days=31)
    assert await drop(pool, now) == 2
    assert [await world.rows(DATA, job.cast_id) for job in (*early, *late)] == [GONE, GONE, KEPT, KEPT]
    assert [await drop(pool, now), await drop(pool, now)] == [2, 0]


async def test_a_piece_is_bounded_by_bytes_too_but_never_empty(
    world: World, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(world, pool, 3)
    ((size,),) = await world.rows(
        "SELECT max(octet_length(input) + octet_length(output) + octet_length(log)) FROM casts"
    )
    now = datetime.now(UTC) + timedelta(days=31)
    monkeypatch.setattr(drop_data, "DROP_BYTES_AT_ONCE_MAX", 2 * size)
    assert await drop(pool, now) == 2
    monkeypatch.setattr(drop_data, "DROP_BYTES_AT_ONCE_MAX", size - 1)
    assert [await drop(pool, now), await drop(pool, now)] == [1, 0]


async def test_two_runs_at_once_share_the_work_and_wait_for_nobody(world: World, pool: Pool) -> None:
    (job,) = await ended(world, pool)
    now = datetime.now(UTC) + timedelta(days=31)
    async with transaction(pool) as connection:
        assert await drop_expired(connection, now=now) == 1
        assert await drop(pool, now) == 0
    assert await world.rows(DATA, job.cast_id) == GONE


async def test_reading_drops_only_what_was_kept_until_then(world: World, pool: Pool) -> None:
    (lasting,) = await ended(world, pool)
    await keep(world, 0)
    (once,) = await ended(world, pool)
    assert await read(pool, lasting.cast_id, once.cast_id, uuid4()) == 1
    assert await read(pool, lasting.cast_id, once.cast_id) == 0
    assert await world.rows(DATA, lasting.cast_id) == KEPT
    assert await world.rows(DATA, once.cast_id) == GONE
    assert await expiry(world, once.cast_id) <= datetime.now(UTC)


async def test_what_is_expired_is_found_by_its_index(world: World, pool: Pool) -> None:
    await ended(world, pool)
    async with transaction(pool) as connection:
        await connection.execute(b"SET LOCAL enable_seqscan = off")
        query = b"EXPLAIN SELECT id FROM casts WHERE input IS NOT NULL AND data_expires_at <= now() LIMIT 9"
        plan = "\n".join(row[0] for row in await (await connection.execute(query)).fetchall())
    assert "data_expires_at_idx" in plan


async def test_days_are_set_within_bounds_for_an_account_that_exists(world: World, pool: Pool) -> None:
    ((handle,),) = await world.rows("SELECT handle FROM accounts WHERE id = %s", world.account_id)
    for _ in range(2):
        async with transaction(pool) as connection:
            await set_data_days(connection, handle=handle, data_days=0, actor=OPERATOR, now=datetime.now(UTC))
    assert await world.rows("SELECT data_days FROM accounts WHERE id = %s", world.account_id) == [(0,)]
    for wrong, days, code in ((handle, 91, Code.VALIDATION), (handle, -1, Code.VALIDATION), ("x", 1, Code.NOT_FOUND)):
        with pytest.raises(RefusedError) as caught:
            async with transaction(pool) as connection:
                await set_data_days(connection, handle=wrong, data_days=days, actor=OPERATOR, now=datetime.now(UTC))
        assert caught.value.refusal.code is code
