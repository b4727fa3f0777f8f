"""Connections to Postgres: one pool per role, one transaction at a time, driver errors translated at this one seam."""

import enum
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.generators import send
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout

type_row = tuple[Any, ...]  # rows are typed by the store function that reads them
Connection = psycopg.AsyncConnection[type_row]
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
        # A session that sends to a silent client holds its locks meanwhile, and no other timeout ends a send.
        f" -c tcp_user_timeout={SILENCE_MS}"
    )
    pool = AsyncConnectionPool(
        database_url,
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
    return cast("Pool", pool)


async def _configure(connection: psycopg.AsyncConnection[type_row]) -> None:
    connection.prepared_max = PREPARED_MAX


@asynccontextmanager
async def transaction(pool: Pool, *, begin: bool = True) -> AsyncGenerator[Connection]:
    """Yield a connection in a transaction: committed at the end of the block, rolled back when it raises.

    Without `begin` the block's first call is a store function that begins it, in its own round trip (`begin`).
    Raises a StoreError for anything the database did wrong; other exceptions pass through unchanged.
    """
    async with statement(pool) as connection:
        if begin:
            await connection.execute(_BEGIN)
        yield connection
        await _commit(connection)


async def begin(connection: Connection) -> None:
    """Begin a transaction unless there is one; inside a pipeline that takes no round trip of its own."""
    if connection.pgconn.transaction_status == TransactionStatus.IDLE:
        await connection.execute(_BEGIN)


@asynccontextmanager
async def pipeline(connection: Connection) -> AsyncGenerator[None]:
    """Send everything the block executes at once, at its end, and in one round trip.

    Results are there behind the block. What one statement raises skips those behind it, and the block raises it.
    """
    one = _Pipeline(connection)
    connection._pipeline = one  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as its own `pipeline` does
    try:
        async with one:
            yield
    finally:
        connection._pipeline = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


class _Pipeline(psycopg.AsyncPipeline):
    """A pipeline of psycopg that keeps what is executed until its end.

    psycopg's own sends each statement, and the end, by itself: a system call and a packet of 15 to 60 microseconds
    each, which for a batch of one is as much as half of these statements do.
    """

    def _communicate_gen(self) -> PQGen[None]:
        """Send nothing yet: psycopg calls this behind each statement."""
        yield from ()

    def _fetch_gen(self, *, flush: bool) -> PQGen[None]:
        while self.command_queue:
            self.command_queue.popleft()()
        yield from send(self.pgconn)
        yield from super()._fetch_gen(flush=flush)

    def _exit_gen(self) -> PQGen[None]:
        self._enqueue_sync()
        yield from self._fetch_gen(flush=False)


@asynccontextmanager
async def statement(pool: Pool) -> AsyncGenerator[Connection]:
    """Yield a connection without a transaction: for one statement, in one round trip instead of three.

    Raises as `transaction` does.
    """
    try:
        async with pool.connection() as connection:
            yield connection
    except PoolTimeout as error:
        message = "no database connection was free in time"
        raise UnavailableError(message) from error
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


async def _commit(connection: Connection) -> None:
    try:
        await connection.commit()
    except psycopg.OperationalError as error:
        if connection.broken:
            message = "the connection broke during COMMIT"
            raise CommitInDoubtError(message) from error
        raise


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
