"""Statements of an exchange leave at once and fail as statements one by one do; two of them are a brief transaction."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from psycopg.pq import TransactionStatus

from domain.model.limits import MIB
from domain.store.connection import (
    BadRowError,
    CommitInDoubtError,
    Connection,
    Pool,
    UnavailableError,
    brief_transaction,
    statement,
    transaction,
)
from domain.store.exchange import Sent, ask_last, commit, exchange, later, rows, statement_of, uuids, value
from tests.domain.world import World

# More than the sockets and libpq keep, in both directions at once: who only sends would wait for ever.
_LARGE: Final = bytes(8 * MIB)
# How long the owner waits for a session to be gone that it has ended.
_GONE_MS: Final = 60_000
_NOTE: Final = b"INSERT INTO usage_strays SELECT %(id)s::uuid, %(id)s::uuid, 'trap', NULL, 0, 0, 'w', clock_timestamp()"
_NOTES: Final = "SELECT cast_id FROM usage_strays ORDER BY seen_at"


Step = Callable[[Connection], Awaitable[object]]


@pytest.fixture
async def owner(database_url: str) -> AsyncGenerator[Connection]:
    async with await Connection.connect(database_url, autocommit=True) as connection:
        yield connection


async def run(opened: AbstractAsyncContextManager[Connection], *steps: Step) -> None:
    async with opened as connection:
        for step in steps:
            await step(connection)


async def ask(connection: Connection) -> None:
    await exchange(connection, (b"SELECT 1", {}))


async def ask_through_psycopg(connection: Connection) -> None:
    await connection.execute(b"SELECT %s::integer", (1,))


async def write(connection: Connection) -> None:
    await exchange(connection, (_NOTE, {"id": uuid4()}))


async def write_later(connection: Connection) -> None:
    await later(connection, (_NOTE, {"id": uuid4()}))


async def miss_rows_later(connection: Connection) -> None:
    await later(connection, (b"SELECT rows_missing('some_query')", {}))


async def sleep_long(connection: Connection) -> None:
    await exchange(connection, (b"SELECT pg_sleep(60)", {}))


async def fail(_connection: Connection) -> None:
    raise LookupError


def end_session_by(owner: Connection) -> Step:
    async def end(connection: Connection) -> None:
        await owner.execute(b"SELECT pg_terminate_backend(%s, %s)", (connection.info.backend_pid, _GONE_MS))

    return end


async def test_values_arrive_as_what_they_are(pool: Pool) -> None:
    types = {
        "text": "text",
        "number": "bigint",
        "yes": "boolean",
        "id": "uuid",
        "bytes": "bytea",
        "none": "text",
        "ids": "uuid[]",
        "texts": "text[]",
        "blobs": "bytea[]",
        "nothing": "uuid[]",
    }
    columns = [f"%({name})s::{kind} AS {name}" for name, kind in types.items()]
    query = f"SELECT %(text)s::text AS again, {', '.join(columns)}".encode()
    given: dict[str, Any] = {
        "text": "ä%s\u2028",
        "number": -(2**62),
        "yes": True,
        "id": uuid4(),
        "bytes": bytes(range(256)),
        "none": None,
        "ids": [uuid4(), UUID(int=0)],
        "texts": ['"{},\\', ""],
        "blobs": [None, b"", b"\0\xff"],
        "nothing": [],
    }
    async with statement(pool) as connection:
        for _ in range(2):  # while it is prepared, and prepared
            (result,) = await exchange(connection, (query, given))
            assert rows(connection, result, dict) == [{**given, "again": given["text"]}]


async def test_every_result_belongs_to_its_statement(pool: Pool) -> None:
    ids = [uuid4(), uuid4()]
    async with statement(pool) as connection:
        first, second, third = await exchange(
            connection,
            (b"SELECT unnest(%(ids)s::uuid[])", {"ids": ids}),
            (b"SELECT 'a', 'b' WHERE %(yes)s::boolean", {"yes": True}),
            (b"SELECT unnest(%(ids)s::uuid[])", {"ids": ids[:1]}),
        )
        assert (uuids(first), value(second), value(second, 1), uuids(third)) == (ids, b"a", b"b", ids[:1])
        cursor = await connection.execute(b"SELECT 3")  # psycopg's own goes on as before
        assert await cursor.fetchone() == (3,)


def test_a_percent_sign_is_one() -> None:
    assert statement_of(b"SELECT 7 %% %(n)s").text == b"SELECT 7 % $1"


async def test_what_is_asked_last_sees_what_was_written_and_is_told_after_commit(pool: Pool, world: World) -> None:
    told: list[bytes] = []

    async def ask_for_count(connection: Connection) -> None:
        count: Sent = (b"SELECT count(*)::text FROM usage_strays", {})
        ask_last(connection, count, lambda result: told.append(value(result)))

    async with brief_transaction(pool) as connection:
        await ask_for_count(connection)
        await write(connection)
        await write_later(connection)
        assert told == []
    assert told == [b"2"]
    await run(brief_transaction(pool), write_later)
    with pytest.raises(AssertionError, match="some_query"):
        await run(brief_transaction(pool), ask_for_count, miss_rows_later)
    assert told == [b"2"], "nothing is told of what was rolled back, or to who asked before"
    assert len(await world.rows(_NOTES)) == 3


async def test_the_first_error_is_raised_and_the_rest_did_not_happen(pool: Pool, world: World) -> None:
    async def divide(connection: Connection) -> None:
        await exchange(connection, (_NOTE, {"id": uuid4()}), (b"SELECT 1 / 0", {}), (b"SELECT 1", {}))

    with pytest.raises(BadRowError, match="division by zero"):
        await run(statement(pool), divide)
    async with statement(pool) as connection:
        assert value((await exchange(connection, (b"SELECT 'yes'", {})))[0]) == b"yes"
        await exchange(connection, (b"SELECT 1", {}))  # was not prepared then, and is now
    assert await world.rows(_NOTES) == []


async def test_much_goes_both_ways_at_once(pool: Pool) -> None:
    large = (b"SELECT %(large)s::bytea", {"large": _LARGE})
    async with statement(pool) as connection:
        assert [value(result) for result in await exchange(connection, large, large)] == [_LARGE] * 2


async def test_a_connection_that_breaks_says_so(pool: Pool, owner: Connection) -> None:
    with pytest.raises(UnavailableError):
        await run(statement(pool), end_session_by(owner), ask)
    async with statement(pool) as connection:
        await ask(connection)


async def test_who_stops_waiting_gives_the_session_up(pool: Pool, world: World) -> None:
    waiting = asyncio.create_task(run(brief_transaction(pool), write_later, sleep_long))
    while not await world.rows("SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"):
        assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with statement(pool) as connection:
        await exchange(connection, (b"SELECT 1", {}))
    assert await world.rows(_NOTES) == []


async def test_a_brief_transaction_begins_with_its_first_exchange_and_keeps_its_last(pool: Pool, world: World) -> None:
    first, second = uuid4(), uuid4()
    async with brief_transaction(pool) as connection:
        assert connection.is_brief
        assert connection.pgconn.transaction_status == TransactionStatus.IDLE
        await exchange(connection, (b"SELECT 1", {}))
        assert connection.pgconn.transaction_status == TransactionStatus.INTRANS
        await later(connection, (_NOTE, {"id": first}))
        assert value((await exchange(connection, (b"SELECT count(*)::text FROM usage_strays", {})))[0]) == b"1"
        await later(connection, (_NOTE, {"id": second}))
        assert await world.rows(_NOTES) == []
    assert await world.rows(_NOTES) == [(first,), (second,)]
    async with transaction(pool) as connection:
        assert not connection.is_brief
        await later(connection, (_NOTE, {"id": first}))
        assert value((await exchange(connection, (b"SELECT count(*)::text FROM usage_strays", {})))[0]) == b"3"


async def test_a_brief_transaction_rolls_back_what_its_block_raises(pool: Pool, world: World) -> None:
    for before in ([write_later], [write, write_later]):
        with pytest.raises(LookupError):
            await run(brief_transaction(pool), *before, fail)
    async with brief_transaction(pool):
        pass  # nothing is asked, and nothing is left over from those
    assert await world.rows(_NOTES) == []


async def test_statements_are_there_again_after_a_rollback(pool: Pool) -> None:
    """psycopg has the server forget every prepared statement, ours too, when it had some of its own."""
    for before in ([ask], [ask_through_psycopg, ask], [ask]):
        with pytest.raises(LookupError):
            await run(transaction(pool), *before, fail)
        async with statement(pool) as connection:
            await ask(connection)


async def test_what_is_wrong_with_the_last_statements_keeps_all_from_happening(pool: Pool, world: World) -> None:
    with pytest.raises(AssertionError, match="some_query"):
        await run(brief_transaction(pool), write, write_later, miss_rows_later)
    assert await world.rows(_NOTES) == []


async def test_a_connection_that_breaks_before_the_end_leaves_no_doubt(pool: Pool, owner: Connection) -> None:
    with pytest.raises(UnavailableError):
        await run(brief_transaction(pool), ask, end_session_by(owner), ask)


async def test_a_connection_that_breaks_at_the_end_leaves_doubt(pool: Pool, owner: Connection) -> None:
    for opened in (brief_transaction, transaction):
        with pytest.raises(CommitInDoubtError):
            await run(opened(pool), ask, end_session_by(owner))


async def test_outside_a_brief_transaction_there_is_nothing_to_commit(pool: Pool) -> None:
    async with statement(pool) as connection:
        await commit(connection)
        assert connection.pgconn.transaction_status == TransactionStatus.IDLE
