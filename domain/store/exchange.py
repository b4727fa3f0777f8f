"""Statements of the hot paths, any number in one round trip, without psycopg's cursors.

A cursor costs a client about 70 microseconds a statement: it adapts each value, looks the text up, and waits for the
socket in generators. Here a text is read once in the life of the process, and values are of the few types that the hot
paths send. For one cast alone that is half of what its transactions cost the client (docs/decisions/0024).
"""

import asyncio
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from domain.store import columns
from domain.store.session import Connection

Row = TypeVar("Row")
Value = str | bytes | int | UUID | Sequence[UUID | str | bytes | None] | None
Sent = tuple[bytes, Mapping[str, Value]]
"""A query with `%(name)s` in it, and what the names stand for."""

_encode_json: Final = msgspec.json.Encoder().encode
_PLACE: Final = re.compile(rb"%\(([\w.]+)\)[sb]")
_numbers: Final = itertools.count()


class Statement(msgspec.Struct, frozen=True):
    """A query as the server gets it: prepared under this name in each session that needs it."""

    name: bytes
    text: bytes
    parameters: tuple[str, ...]
    """What $1, $2 … stand for."""


@cache
def statement_of(query: bytes) -> Statement:
    """Return the statement of `query`. The queries of a process are a fixed set, so they are all remembered."""
    names = tuple(dict.fromkeys(match.decode() for match in _PLACE.findall(query)))
    text = _PLACE.sub(lambda match: b"$%d" % (names.index(match[1].decode()) + 1), query)
    return Statement(b"spell_%d" % next(_numbers), text.replace(b"%%", b"%"), names)


_BEGIN: Final = statement_of(b"BEGIN")
_COMMIT: Final = statement_of(b"COMMIT")


async def exchange(connection: Connection, *sent: Sent) -> list[PGresult]:
    """Run statements in order, in one round trip; return the result of each, its values binary.

    In a brief transaction BEGIN goes first, and so does what `later` kept. The first error is raised as psycopg would;
    what stands behind it did not happen. Raises psycopg.Error.
    """
    statements = [*_opening(connection), *[(statement_of(query), values) for query, values in sent]]
    return (await _run(connection, statements))[-len(sent) :]


async def later(connection: Connection, *sent: Sent) -> None:
    """Run statements whose results nobody asks for: with the COMMIT of a brief transaction, otherwise at once.

    What could be wrong with them they must find out themselves, by raising an error.
    """
    if connection.kept is None:
        await exchange(connection, *sent)
    else:
        connection.kept.extend(sent)


def ask_last(connection: Connection, sent: Sent, told: Callable[[PGresult], None]) -> None:
    """Run a statement behind all others of a brief transaction; `told` gets its result, once that is committed."""
    assert connection.is_brief, "in any other transaction the result is there before the COMMIT"
    connection.asked_last = (*sent, told)


async def commit(connection: Connection) -> None:
    """End a brief transaction: run what was kept, and COMMIT, in one round trip. Raises psycopg.Error."""
    if connection.asked_last is not None:
        query, values, told = connection.asked_last
        *_, last, _ = await _run(connection, [*_opening(connection), (statement_of(query), values), (_COMMIT, {})])
        told(last)
    elif connection.kept or connection.pgconn.transaction_status != TransactionStatus.IDLE:
        await _run(connection, [*_opening(connection), (_COMMIT, {})])


def json_of(rows: Sequence[msgspec.Struct]) -> bytes:
    """Return rows as they travel."""
    return _encode_json(rows)


def written(rows: Mapping[str, Sequence[msgspec.Struct]]) -> dict[str, Value]:
    """Return what a statement of `queries.together` is sent with: the rows of each query with some, and how many."""
    sent: dict[str, Value] = {}
    for name, some in rows.items():
        if some:
            sent[name] = json_of(some)
            sent[f"{name}_rows"] = len(some)
    return sent


def value(result: PGresult, column: int = 0) -> bytes:
    """Return a value of a result of one row; it is never null."""
    found = result.get_value(0, column)
    assert found is not None, "the statement answers with one row of values"
    return found


def uuids(result: PGresult) -> list[UUID]:
    """Return the first column, which holds ids."""
    return [UUID(bytes=result.get_value(row, 0)) for row in range(result.ntuples)]


def rows(connection: Connection, result: PGresult, make: Callable[..., Row]) -> list[Row]:
    """Return what `make` makes of each row, called with its columns by name."""
    reader = connection.reader
    reader.set_pgresult(result, format=Format.BINARY)
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
    return reader.load_rows(0, result.ntuples, lambda values: make(**dict(zip(names, values, strict=True))))


def _opening(connection: Connection) -> list[tuple[Statement, Mapping[str, Value]]]:
    """Return what a brief transaction owes the server before anything else."""
    if connection.kept is None:
        return []
    kept = [(statement_of(query), values) for query, values in connection.kept]
    connection.kept.clear()
    if connection.pgconn.transaction_status == TransactionStatus.IDLE:
        return [(_BEGIN, {}), *kept]
    return kept


async def _run(connection: Connection, statements: Sequence[tuple[Statement, Mapping[str, Value]]]) -> list[PGresult]:
    encoded = [(one, *_encoded(one, values)) for one, values in statements]
    prepared, pgconn = connection.prepared, connection.pgconn
    sent: list[Statement | None] = []
    """For each result to come the statement that was prepared; None: one was run."""
    try:
        pgconn.enter_pipeline_mode()
        for one, texts, formats in encoded:
            if one.name not in prepared and one not in sent:
                pgconn.send_prepare(one.name, one.text)
                sent.append(one)
            pgconn.send_query_prepared(one.name, texts, formats, Format.BINARY)
            sent.append(None)
        pgconn.pipeline_sync()
        results = await _results(pgconn)
        pgconn.exit_pipeline_mode()
    except BaseException:
        # Answers may be half read, or nobody waits for them any more: this session cannot be used again.
        pgconn.finish()
        raise
    failed = next((result for result in results if result.status == ExecStatus.FATAL_ERROR), None)
    done = results if failed is None else results[: results.index(failed)]
    prepared.update(one.name for one, _ in zip(sent, done, strict=False) if one is not None)
    if failed is not None:
        raise error_from_result(failed)
    return [result for one, result in zip(sent, results, strict=True) if one is None]


async def _results(pgconn: PGconn) -> list[PGresult]:
    """Send what is waiting to be sent, and return everything up to the server's answer to the end of the pipeline."""
    results: list[PGresult] = []
    while pgconn.flush():
        # The server may stop reading until we have read what it answers.
        await _ready(pgconn.socket, to_write=True)
        pgconn.consume_input()
    while True:
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:  # between two statements
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)
        await _ready(pgconn.socket)
        pgconn.consume_input()


async def _ready(descriptor: int, *, to_write: bool = False) -> None:
    """Return when there is something to read, or room to write."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _wake, ready)
    if to_write:
        loop.add_writer(descriptor, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
        if to_write:
            loop.remove_writer(descriptor)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _encoded(statement: Statement, values: Mapping[str, Value]) -> tuple[list[bytes | None], list[int]]:
    texts: list[bytes | None] = []
    formats: list[int] = []
    for name in statement.parameters:
        given = values[name]
        # Most are columns.
        text, form = (given, Format.BINARY) if type(given) is bytes else _parameter(given)
        texts.append(text)
        formats.append(form)
    return texts, formats


def _parameter(given: Value) -> tuple[bytes | None, Format]:
    if isinstance(given, str):
        return given.encode(), Format.TEXT
    if isinstance(given, bytes):
        return given, Format.BINARY
    if isinstance(given, UUID):
        return given.bytes, Format.BINARY
    if given is None:
        return None, Format.TEXT
    if isinstance(given, int):  # booleans too: 0 and 1 are among their names
        return b"%d" % given, Format.TEXT
    return _array(given) if given else (b"{}", Format.TEXT)


def _array(given: Sequence[Any]) -> tuple[bytes, Format]:
    """Return an array as the server reads it; of what, its first element tells: only bytes may be missing."""
    first = given[0]
    if isinstance(first, UUID):
        return columns.uuids(given), Format.BINARY
    if isinstance(first, str):
        return columns.texts(given), Format.BINARY
    return columns.byte_strings(given), Format.BINARY
