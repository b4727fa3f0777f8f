"""Connections to Postgres: one pool per role, one transaction at a time, driver errors translated at this one seam."""

import enum
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.store.exchange import commit
from domain.store.session import Connection

Pool = AsyncConnectionPool[Connection]

# A frozen account row must not stop the batch it is in for longer than a caller notices.
LOCK_TIMEOUT_MS: Final = 250
# Nothing on the cast path takes a tenth of this; what does is stuck and must give its locks back.
STATEMENT_TIMEOUT_MS: Final = 2_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 2_000
# Every statement of a request or a batch finds its rows by key. A prepared statement that was planned while a table was
# nearly empty would read all of it for hours: 2,764 casts settled a second instead of 5,104 behind 20,000 open ones
# (measured). So only plans by index and nested loop; planning anew each time costs a millisecond a batch instead.
# And such a plan is as good for one list of ids as for another: made once and kept, where Postgres would plan by the
# values each time (2 of the 2.6 ms that one cast alone costs it). Partitions are then left out by a range of ids.
KEYED_PLANS: Final = (
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan"
)
# For whoever reads whole months.
ANY_PLANS: Final = ""
# Longer than any pause of a healthy server, shorter than a caller's patience.
POOL_TIMEOUT_S: Final = 2.0
# More statements than the whole platform has; each takes some KiB of its server process.
PREPARED_MAX: Final = 500
_BEGIN: Final = b"BEGIN"
# A network that drops packets says nothing: left to the kernel, a query whose server has gone silent ends after a
# quarter of an hour, and with it the one batch loop of an api. Longer than any statement of the cast path may take, so
# that a slow server is told from a silent one; sent data unacknowledged, or keep-alives unanswered, for this long.
SILENCE_MS: Final = 5_000
# Applied to an idle connection, and to one that waits for an answer to what was acknowledged.
_KEEP_ALIVE: Final = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 1, "keepalives_count": 5}
CONNECT_TIMEOUT_S: Final = 5
# The pool doubles its pause between attempts: with its own five minutes, a server that was away for two would be found
# again after four. Giving up this early leaves the next attempt to the next caller who asks.
RECONNECT_S: Final = 2.0


class Role(enum.StrEnum):
    """The database roles of the processes; the login may take on each (`SET ROLE`)."""

    APP = "spell_app"
    ENGINE = "spell_engine"


class StoreError(Exception):
    """The database did not do what was asked. Subclasses say whether trying again can help."""


class LockTimeoutError(StoreError):
    """Somebody held a row for longer than LOCK_TIMEOUT_MS. Nothing was written."""


class SerializationError(StoreError):
    """A deadlock or a serialization failure. Nothing was written; the same transaction may be tried again."""


class BadRowError(StoreError):
    """A value or a constraint was wrong (SQLSTATE class 22 or 23): the same rows will fail again."""


class UnavailableError(StoreError):
    """No connection, or it broke before COMMIT. Nothing was written."""


class CommitInDoubtError(StoreError):
    """The connection broke during COMMIT: it may or may not have happened. Look before doing it again."""


def open_pool(
    database_url: str,
    *,
    role: Role,
    size_max: int,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    plans: str = KEYED_PLANS,
) -> Pool:
    """Return a pool, not yet open (`async with` it), whose sessions run as `role` under the limits above."""
    options = (
        f"-c role={role.value} -c lock_timeout={LOCK_TIMEOUT_MS} -c statement_timeout={statement_timeout_ms}"
        f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS} -c timezone=UTC{plans}"
        # All statements are short, and compiling one costs a quarter of a second. Before Postgres 18 each that needs a
        # forbidden scan all the same looks dear enough for it (250 ms instead of 1, measured on 15).
        " -c jit=off"
        # A session that sends to a silent client holds its locks meanwhile, and no other timeout ends a send.
        f" -c tcp_user_timeout={SILENCE_MS}"
    )
    return AsyncConnectionPool(
        database_url,
        connection_class=Connection,
        min_size=1,
        max_size=size_max,
        timeout=POOL_TIMEOUT_S,
        reconnect_timeout=RECONNECT_S,
        open=False,
        configure=_configure,
        kwargs={
            # Transactions are begun by us, so that BEGIN can ride with the first statement: see `transaction`.
            "autocommit": True,
            # Prepared when first met: psycopg's five times of parsing and planning first are a few milliseconds of
            # every statement on every connection, and a quiet platform takes its connections in turn.
            "prepare_threshold": 0,
            "options": options,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "tcp_user_timeout": SILENCE_MS,
            **_KEEP_ALIVE,
        },
        name=role.value,
    )


async def _configure(connection: Connection) -> None:
    connection.prepared_max = PREPARED_MAX


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncGenerator[Connection]:
    """Yield a connection in a transaction: committed at the end of the block, rolled back when it raises.

    Raises a StoreError for anything the database did wrong; other exceptions pass through unchanged.
    """
    async with statement(pool) as connection:
        await connection.execute(_BEGIN)
        yield connection
        try:
            await connection.commit()
        except psycopg.OperationalError as error:
            raise _doubted(connection, error) from error


@asynccontextmanager
async def brief_transaction(pool: Pool) -> AsyncGenerator[Connection]:
    """Yield a connection for one flow: a transaction as `transaction` is, in two round trips instead of four or more.

    BEGIN leaves with the first thing the flow reads, and what it writes `later` with the COMMIT. So the block's
    statements all go through `domain.store.exchange`; psycopg's own would overtake what is kept.
    """
    async with statement(pool) as connection:
        connection.kept = []
        try:
            yield connection
            try:
                await commit(connection)
            except psycopg.OperationalError as error:
                raise _doubted(connection, error) from error
        finally:
            connection.kept = connection.asked_last = None


@asynccontextmanager
async def statement(pool: Pool) -> AsyncGenerator[Connection]:
    """Yield a connection without a transaction: for one statement, in one round trip instead of three.

    Raises as `transaction` does; AssertionError for what a statement asserts.
    """
    try:
        # Not `pool.connection()`: its own context and a commit of nothing cost two thirds as much again as all of this.
        connection = await pool.getconn()
        try:
            yield connection
        except BaseException:
            with suppress(psycopg.Error):  # the pool closes what cannot be rolled back
                await connection.rollback()
            raise
        finally:
            await pool.putconn(connection)
    except PoolTimeout as error:
        message = "no database connection was free in time"
        raise UnavailableError(message) from error
    except errors.AssertFailure as error:
        raise AssertionError(error.diag.message_primary) from error
    except psycopg.Error as error:
        raise translated(error) from error


@asynccontextmanager
async def account_transaction(pool: Pool, account_id: UUID) -> AsyncGenerator[Connection]:
    """Yield a transaction in which row-level security shows the rows of `account_id` alone; `pool` has Role.APP."""
    async with transaction(pool) as connection:
        await connection.execute(b"SELECT set_config('spell.account_id', %s, true)", (str(account_id),))
        yield connection


@asynccontextmanager
async def snapshot(pool: Pool) -> AsyncGenerator[Connection]:
    """Yield a transaction whose statements all see one instant (REPEATABLE READ)."""
    async with transaction(pool) as connection:
        await connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield connection


def _doubted(connection: Connection, error: psycopg.OperationalError) -> Exception:
    """Return what an error while committing means: without the connection nobody knows whether it happened."""
    if connection.broken:
        return CommitInDoubtError("the connection broke during COMMIT")
    return error


def translated(error: psycopg.Error) -> StoreError:
    """Return the StoreError that tells the caller what it may do about `error`."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, errors.LockNotAvailable):
        return LockTimeoutError(text)
    if isinstance(error, errors.DeadlockDetected | errors.SerializationFailure):
        return SerializationError(text)
    if (error.sqlstate or "")[:2] in {"22", "23"}:
        return BadRowError(text)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return UnavailableError(text)
    return StoreError(text)
