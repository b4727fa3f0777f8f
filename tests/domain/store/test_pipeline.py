"""What a block of statements executes leaves at its end, all at once, and fails as statements one by one do."""

from typing import Final

import pytest
from psycopg.pq import TransactionStatus

from domain.model.limits import MIB
from domain.store.connection import (
    BadRowError,
    Connection,
    Pool,
    UnavailableError,
    begin,
    pipeline,
    statement,
    transaction,
)

# More than the sockets and libpq keep, in both directions at once: who only sends would wait for ever.
_LARGE: Final = bytes(8 * MIB)
# How long the owner waits for a session to be gone that it has ended.
_GONE_MS: Final = 60_000


async def _run_in_transaction(pool: Pool, *queries: bytes) -> None:
    async with transaction(pool, begin=False) as connection, pipeline(connection):
        await begin(connection)
        for query in queries:
            await connection.execute(query)


async def _fail_in_block(connection: Connection) -> None:
    async with pipeline(connection):
        await connection.execute(b"SELECT 1")
        message = "ours"
        raise LookupError(message)


async def test_nothing_leaves_before_the_end_of_the_block(pool: Pool) -> None:
    async with statement(pool) as connection:
        for _ in range(2):  # statements that are prepared on the way, and statements that are prepared
            async with pipeline(connection):
                first = await connection.execute(b"SELECT 1")
                second = await connection.execute(b"SELECT %s::integer", (2,))
                assert connection.pgconn.transaction_status == TransactionStatus.IDLE
            assert await first.fetchone() == (1,)
            assert await second.fetchone() == (2,)
        alone = await connection.execute(b"SELECT 3")
        assert await alone.fetchone() == (3,)


async def test_the_transaction_of_a_block_is_open_behind_it(pool: Pool) -> None:
    async with transaction(pool, begin=False) as connection:
        async with pipeline(connection):
            await begin(connection)
            await connection.execute(b"SELECT 1")
        assert connection.pgconn.transaction_status == TransactionStatus.INTRANS
    assert connection.pgconn.transaction_status == TransactionStatus.IDLE


async def test_the_first_error_is_raised_and_the_rest_did_not_happen(pool: Pool) -> None:
    with pytest.raises(BadRowError, match="division by zero"):
        await _run_in_transaction(pool, b"SELECT 1 / 0", b"SELECT 1")
    async with statement(pool) as connection:
        cursor = await connection.execute(b"SELECT 1")
        assert await cursor.fetchone() == (1,)


async def test_what_the_block_raises_is_not_hidden(pool: Pool) -> None:
    async with statement(pool) as connection:
        with pytest.raises(LookupError, match="ours"):
            await _fail_in_block(connection)
        cursor = await connection.execute(b"SELECT 1")
        assert await cursor.fetchone() == (1,)


async def test_a_result_may_be_read_inside_the_block(pool: Pool) -> None:
    async with statement(pool) as connection, pipeline(connection):
        cursor = await connection.execute(b"SELECT 1")
        assert await cursor.fetchone() == (1,)
        cursor = await connection.execute(b"SELECT 2")
        assert await cursor.fetchone() == (2,)


async def test_much_goes_both_ways_at_once(pool: Pool) -> None:
    async with statement(pool) as connection:
        async with pipeline(connection):
            cursors = [await connection.execute(b"SELECT %b::bytea", (_LARGE,), binary=True) for _ in range(2)]
        assert [await cursor.fetchone() for cursor in cursors] == [(_LARGE,)] * 2


async def _lose_the_server_in_block(pool: Pool, owner: Connection) -> None:
    async with statement(pool) as connection, pipeline(connection):
        await connection.execute(b"SELECT 1")
        await owner.execute(b"SELECT pg_terminate_backend(%s, %s)", (connection.info.backend_pid, _GONE_MS))


async def test_a_connection_that_breaks_says_so(pool: Pool, database_url: str) -> None:
    async with await Connection.connect(database_url, autocommit=True) as owner:
        with pytest.raises(UnavailableError):
            await _lose_the_server_in_block(pool, owner)
    async with statement(pool) as connection:
        cursor = await connection.execute(b"SELECT 1")
        assert await cursor.fetchone() == (1,)
