"""Applies numbered SQL files to a Postgres database, forward and back, from any number of machines at once.

Each file and its row in `public.schema_migrations` are one transaction. Runners take turns by an advisory lock of the
session, so a connection pooler in transaction mode must not stand between: connect to Postgres itself.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Final, LiteralString

import msgspec
import psycopg
from psycopg import generators, pq
from psycopg.rows import class_row, scalar_row

from migrations.files import FOLDER, Migration, MigrationError, Part, read_folder, statement_starts

# Any constant does, as long as every runner of every version uses it: "spell" in ASCII.
LOCK_KEY: Final = 0x7370656C6C
# A lost turn costs this much. The lock is polled, because a blocked statement holds a snapshot for as long as it
# waits, and CREATE INDEX CONCURRENTLY or a vacuum of another runner would wait for that snapshot in turn.
LOCK_POLL_SECONDS: Final = 0.1
# Longer than any migration should take; who waits for more should look at what the other runner is doing.
LOCK_WAIT_SECONDS_MAX: Final = 600.0

CONNECT_SECONDS_MAX: Final = 10
# Enough for several runners that create roles, which the databases of a cluster share, at one moment.
ATTEMPTS_MAX: Final = 10
ATTEMPT_PAUSE_SECONDS: Final = 0.2

# A runner that died must lose its lock soon, even in the middle of a long statement: so the server looks whether the
# client is still there. A statement that waits for a table must not hold up the traffic queued behind it: so it gives
# up after three seconds and is tried again. How long a statement runs is nobody's limit here. Sent before every file,
# so that no file inherits what another one set.
_SESSION: Final = b"""
RESET ROLE;
RESET ALL;
SET client_connection_check_interval = '2s';
SET lock_timeout = '3s';
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_min_messages = warning
"""
# Every role may read it: file names are no secret, and each process says on /readyz whether the schema is current.
_CREATE_TABLE: Final = b"""
CREATE TABLE IF NOT EXISTS public.schema_migrations (
  version integer PRIMARY KEY,
  name text NOT NULL,
  checksum text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON public.schema_migrations TO PUBLIC
"""

# What a second runner, or the traffic of a live platform, can do to a statement that is right in itself.
_RACES: Final = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)

Report = Callable[[str], None]
_Record = Callable[[psycopg.AsyncConnection, Migration], Awaitable[None]]


class _Applied(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    name: str
    checksum: str


class _ScriptError(Exception):
    """A script failed: `cause` is Postgres' error, `statements_done` how many statements had succeeded."""

    def __init__(self, cause: psycopg.Error, statements_done: int) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.statements_done = statements_done


def _quiet(_line: str) -> None:
    """Report to nobody."""


async def migrate(
    database_url: str, *, target: int | None = None, folder: Path = FOLDER, report: Report = _quiet
) -> list[str]:
    """Apply what is missing, up to and including version `target`, and return the names of the files applied.

    Safe to run from many machines at once: they take turns, and whoever comes late finds nothing to do. `report` gets
    a line for each file while it happens. Raises MigrationError; files applied before the failing one stay applied.
    """
    migrations = read_folder(folder)
    if target is not None and target not in {migration.version for migration in migrations}:
        message = f"there is no migration number {target} in {folder.name}/; the last is {_last_version(migrations)}"
        raise MigrationError(message)
    async with _connected(database_url) as connection, _locked(connection, report):
        await connection.execute(_CREATE_TABLE)
        pending = _pending(migrations, await _applied(connection))
        wanted = [migration for migration in pending if target is None or migration.version <= target]
        for migration in wanted:
            report(f"applying {migration.file_name}")
            await _run(connection, migration, migration.up, _record_applied, report)
    return [migration.file_name for migration in wanted]


async def check(database_url: str, *, folder: Path = FOLDER) -> list[str]:
    """Return the names of the files that are not applied yet. Changes nothing and waits for nobody.

    A database ahead of `folder` is fine: during a deploy the older version runs on the newer schema for a while.
    """
    async with _connected(database_url) as connection:
        return await pending_on(connection, folder=folder)


async def pending_on(connection: psycopg.AsyncConnection[object], *, folder: Path = FOLDER) -> list[str]:
    """Do what `check` does on a connection of the caller, of any role and row factory."""
    return [migration.file_name for migration in _pending(read_folder(folder), await _applied(connection))]


async def down(database_url: str, steps: int, *, folder: Path = FOLDER, report: Report = _quiet) -> list[str]:
    """Take back the last `steps` applied files, newest first, and return their names. Raises MigrationError."""
    if steps < 1:
        message = f"--down takes the number of migrations to take back, at least 1, not {steps}"
        raise MigrationError(message)
    by_version = {migration.version: migration for migration in read_folder(folder)}
    async with _connected(database_url) as connection, _locked(connection, report):
        applied = await _applied(connection)
        _assert_unchanged(by_version, applied)
        chosen = [(row, by_version.get(row.version)) for row in reversed(applied)][:steps]
        undone: list[str] = []
        for row, migration in chosen:
            if migration is None or migration.down is None:
                reason = "its file is not here; use the version of the program that applied it"
                if migration is not None:
                    reason = "its file has no statement under `-- down`; restore a backup instead"
                message = f"{row.name} cannot be taken back: {reason}"
                raise MigrationError(message)
            report(f"taking back {row.name}")
            await _run(connection, migration, migration.down, _record_undone, report)
            undone.append(row.name)
    return undone


def _last_version(migrations: Sequence[Migration]) -> str:
    return str(migrations[-1].version) if migrations else "none"


def _pending(migrations: Sequence[Migration], applied: Sequence[_Applied]) -> list[Migration]:
    """Return what is left to apply, after making sure that the history and the files agree."""
    _assert_unchanged({migration.version: migration for migration in migrations}, applied)
    versions = {row.version for row in applied}
    pending = [migration for migration in migrations if migration.version not in versions]
    if pending and applied and pending[0].version < applied[-1].version:
        message = (
            f"{pending[0].file_name} is not applied, but the later {applied[-1].name} is; "
            "give the file a number after that one, so that every database sees the same order"
        )
        raise MigrationError(message)
    return pending


def _assert_unchanged(by_version: dict[int, Migration], applied: Sequence[_Applied]) -> None:
    for row in applied:
        migration = by_version.get(row.version)
        if migration is not None and (migration.checksum != row.checksum or migration.file_name != row.name):
            message = (
                f"{migration.file_name} was edited or renamed after this database applied it as {row.name}; "
                "put the old text back and write the change as a new migration"
            )
            raise MigrationError(message)


@asynccontextmanager
async def _connected(database_url: str) -> AsyncGenerator[psycopg.AsyncConnection]:
    """Yield a prepared connection in autocommit mode. Trouble with the connection itself becomes a MigrationError."""
    try:
        async with await psycopg.AsyncConnection.connect(
            database_url,
            autocommit=True,
            client_encoding="utf8",
            connect_timeout=CONNECT_SECONDS_MAX,
            application_name="spell-migrate",
        ) as connection:
            await connection.execute(_SESSION)
            yield connection
    except psycopg.Error as error:
        message = f"Postgres: {_one_line(error)}; look whether the address is right and the server up"
        raise MigrationError(message) from error


@asynccontextmanager
async def _locked(connection: psycopg.AsyncConnection, report: Report) -> AsyncGenerator[None]:
    """Hold the runners' lock. It belongs to the session, so closing the connection or dying gives it up as well."""
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + LOCK_WAIT_SECONDS_MAX
    waiting = False
    while not await _one_value(connection, "SELECT pg_try_advisory_lock(%s)", LOCK_KEY):
        if not waiting:
            report("waiting for another runner to finish")
            waiting = True
        if clock() > give_up_at:
            message = (
                f"another runner has held the lock for {LOCK_WAIT_SECONDS_MAX:.0f} s; find it in pg_stat_activity "
                "(application_name 'spell-migrate') and end it if it hangs"
            )
            raise MigrationError(message)
        await asyncio.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        if not connection.broken:
            await connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK_KEY,))


async def _one_value(connection: psycopg.AsyncConnection[object], query: LiteralString, *parameters: object) -> object:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()


async def _applied(connection: psycopg.AsyncConnection[object]) -> list[_Applied]:
    """Return what this database has, oldest first; nothing when no runner has been here."""
    if await _one_value(connection, "SELECT to_regclass('public.schema_migrations')") is None:
        return []
    async with connection.cursor(row_factory=class_row(_Applied)) as cursor:
        await cursor.execute("SELECT version, name, checksum FROM public.schema_migrations ORDER BY version")
        return await cursor.fetchall()


async def _record_applied(connection: psycopg.AsyncConnection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO public.schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
        (migration.version, migration.file_name, migration.checksum),
    )


async def _record_undone(connection: psycopg.AsyncConnection, migration: Migration) -> None:
    await connection.execute("DELETE FROM public.schema_migrations WHERE version = %s", (migration.version,))


async def _run(
    connection: psycopg.AsyncConnection, migration: Migration, part: Part, record: _Record, report: Report
) -> None:
    """Run one part and record it in one transaction; try again what only lost a race with somebody else."""
    attempt = 1
    while True:
        try:
            await connection.execute(_SESSION)
            async with connection.transaction():
                await _execute_script(connection, part.sql)
                await connection.execute("RESET ROLE")
                await record(connection, migration)
        except _ScriptError as error:
            cause, line = error.cause, _failing_line(part, error)
        except psycopg.Error as error:
            cause, line = error, None
        else:
            return
        if attempt == ATTEMPTS_MAX or not _lost_a_race(cause):
            raise MigrationError(_explain(migration, cause, line)) from cause
        report(f"trying {migration.file_name} again: {_one_line(cause)}")
        await asyncio.sleep(ATTEMPT_PAUSE_SECONDS * attempt)
        attempt += 1


async def _execute_script(connection: psycopg.AsyncConnection, sql: str) -> None:
    """Send `sql` as one simple query. Below psycopg's cursor, which forgets how many statements had succeeded."""
    connection.pgconn.send_query(sql.encode())
    results = await connection.wait(generators.execute(connection.pgconn))
    for number, result in enumerate(results):
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise _ScriptError(psycopg.errors.error_from_result(result), statements_done=number)


def _lost_a_race(error: psycopg.Error) -> bool:
    """Tell whether the same statement may well succeed when nobody else touches the same object."""
    if isinstance(error, psycopg.errors.InternalError_):
        # Two sessions changed one row of a catalog that the databases of a cluster share: roles and their grants.
        return error.diag.message_primary in {"tuple concurrently updated", "tuple concurrently deleted"}
    if isinstance(error, psycopg.errors.UniqueViolation):
        return error.diag.schema_name == "pg_catalog"
    return isinstance(error, _RACES)


def _failing_line(part: Part, error: _ScriptError) -> int | None:
    """Return the line Postgres points at, or else the line where the failing statement starts."""
    position = error.cause.diag.statement_position
    if position is not None:
        return part.line_at(int(position) - 1)
    start = next(islice(statement_starts(part.sql), error.statements_done, None), None)
    return None if start is None else part.line_at(start)


def _explain(migration: Migration, error: psycopg.Error, line: int | None) -> str:
    where = migration.file_name if line is None else f"{migration.file_name}, line {line}"
    details = (error.diag.message_detail, error.diag.message_hint, error.diag.context)
    return "; ".join([f"{where}: {_one_line(error)}", *(" ".join(detail.split()) for detail in details if detail)])


def _one_line(error: psycopg.Error) -> str:
    text = " ".join((error.diag.message_primary or str(error)).split())
    return f"{text} (SQLSTATE {error.sqlstate})" if error.sqlstate else text
