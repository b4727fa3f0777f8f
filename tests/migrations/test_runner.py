import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from migrations.files import MigrationError, read_folder
from migrations.runner import LOCK_KEY, check, down, migrate, pending_on
from tests.migrations.catalog import dump
from tests.servers import TestDatabases

FIRST = "0001_first.sql"
SECOND = "0002_second.sql"
FIRST_SQL = "-- up\nCREATE TABLE first (id int PRIMARY KEY);\n-- down\nDROP TABLE first;\n"
SECOND_SQL = "-- up\nALTER TABLE first ADD COLUMN name text;\n-- down\nALTER TABLE first DROP COLUMN name;\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / FIRST).write_text(FIRST_SQL)
    (tmp_path / SECOND).write_text(SECOND_SQL)
    return tmp_path


@pytest.fixture
def four_database_urls(test_databases: TestDatabases) -> Generator[list[str]]:
    urls = [test_databases.create() for _ in range(4)]
    yield urls
    for url in urls:
        test_databases.drop(url)


async def value(database_url: str, query: bytes) -> object:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        row = await (await connection.execute(query)).fetchone()
        assert row is not None
        return row[0]


async def until_asleep(database_url: str) -> None:
    asleep = b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    async with asyncio.timeout(30):
        while await value(database_url, asleep) != 1:  # noqa: ASYNC110  # Postgres cannot set our events
            await asyncio.sleep(0.05)


async def refusal(database_url: str, folder: Path) -> str:
    with pytest.raises(MigrationError) as caught:
        await migrate(database_url, folder=folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_what_is_missing_is_applied_in_order_and_only_once(empty_database_url: str, folder: Path) -> None:
    lines: list[str] = []
    assert await check(empty_database_url, folder=folder) == [FIRST, SECOND]
    assert await migrate(empty_database_url, folder=folder, report=lines.append) == [FIRST, SECOND]
    assert lines == [f"applying {FIRST}", f"applying {SECOND}"]
    assert await migrate(empty_database_url, folder=folder) == []
    assert await check(empty_database_url, folder=folder) == []


async def test_check_changes_nothing(empty_database_url: str, folder: Path) -> None:
    await check(empty_database_url, folder=folder)
    assert await value(empty_database_url, b"SELECT to_regclass('schema_migrations')") is None


async def test_a_target_stops_there_and_an_unknown_one_is_an_error(empty_database_url: str, folder: Path) -> None:
    with pytest.raises(MigrationError, match="no migration number 7"):
        await migrate(empty_database_url, folder=folder, target=7)
    assert await migrate(empty_database_url, folder=folder, target=1) == [FIRST]
    assert await check(empty_database_url, folder=folder) == [SECOND]


async def test_four_runners_at_once_apply_each_file_once(empty_database_url: str) -> None:
    names = [migration.file_name for migration in read_folder()]
    applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    assert sorted(applied) == [[], [], [], names]
    assert await value(empty_database_url, b"SELECT count(*) FROM schema_migrations") == len(names)


async def test_runners_in_databases_of_one_cluster_do_not_fail_over_its_roles(
    four_database_urls: list[str], tmp_path: Path
) -> None:
    role = f"spell_test_{os.getpid()}"
    statements = [f"ALTER ROLE {role} CONNECTION LIMIT {limit};" for limit in range(20)]
    (tmp_path / FIRST).write_text(
        f"-- up\nDO $$ BEGIN CREATE ROLE {role};\n"
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;\n"
        + "\n".join(statements)
        + "\n-- down\nSELECT 1;\n"
    )
    try:
        applied = await asyncio.gather(*(migrate(url, folder=tmp_path) for url in four_database_urls))
        assert applied == [[FIRST]] * 4
    finally:
        async with await psycopg.AsyncConnection.connect(four_database_urls[0], autocommit=True) as connection:
            await connection.execute(f"DROP ROLE {role}".encode())


async def test_up_down_up_gives_the_same_schema_and_down_leaves_nothing(empty_database_url: str) -> None:
    before = await dump(empty_database_url)
    count = len(await migrate(empty_database_url))
    up = await dump(empty_database_url)
    await down(empty_database_url, count)
    assert [line for line in await dump(empty_database_url) if line not in before] == []
    await migrate(empty_database_url)
    assert await dump(empty_database_url) == up
    assert len(up) > len(before) + 100


async def test_each_migration_alone_goes_back_to_what_was_before_it(empty_database_url: str) -> None:
    for migration in read_folder():
        before = await dump(empty_database_url)
        await migrate(empty_database_url, target=migration.version)
        await down(empty_database_url, 1)
        assert [line for line in await dump(empty_database_url) if line not in before] == []
        await migrate(empty_database_url, target=migration.version)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE casts ALTER COLUMN attempts SET NOT NULL",
        "ALTER TABLE casts DISABLE ROW LEVEL SECURITY",
        "GRANT DELETE ON ledger_transfers TO spell_engine",
        "DROP INDEX casts_on_wire",
        "ALTER FUNCTION partition_drop SECURITY INVOKER",
    ],
)
async def test_the_comparison_sees_a_small_change(database_url: str, change: str) -> None:
    before = await dump(database_url)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(change.encode())
    assert await dump(database_url) != before


async def test_an_edited_or_renamed_applied_file_is_named(empty_database_url: str, folder: Path) -> None:
    await migrate(empty_database_url, folder=folder)
    (folder / FIRST).write_text(FIRST_SQL.replace("int", "bigint"))
    assert (await refusal(empty_database_url, folder)).startswith(f"{FIRST} was edited or renamed")
    with pytest.raises(MigrationError, match=FIRST):
        await check(empty_database_url, folder=folder)
    (folder / FIRST).rename(folder / "0001_other.sql")
    assert "applied it as 0001_first.sql" in await refusal(empty_database_url, folder)


async def test_line_ends_are_not_an_edit(empty_database_url: str, folder: Path) -> None:
    await migrate(empty_database_url, folder=folder)
    (folder / FIRST).write_bytes(FIRST_SQL.replace("\n", "\r\n").encode())
    assert await migrate(empty_database_url, folder=folder) == []


async def test_a_file_numbered_before_an_applied_one_is_refused(empty_database_url: str, folder: Path) -> None:
    (folder / FIRST).rename(folder / "0003_first.sql")
    (folder / SECOND).unlink()
    await migrate(empty_database_url, folder=folder)
    (folder / SECOND).write_text(SECOND_SQL)
    assert "give the file a number after that one" in await refusal(empty_database_url, folder)


async def test_an_older_program_runs_on_a_newer_schema(empty_database_url: str, folder: Path) -> None:
    await migrate(empty_database_url, folder=folder)
    (folder / SECOND).unlink()
    assert await check(empty_database_url, folder=folder) == []
    assert await migrate(empty_database_url, folder=folder) == []
    with pytest.raises(MigrationError, match=f"{SECOND} cannot be taken back: its file is not here"):
        await down(empty_database_url, 1, folder=folder)


@pytest.mark.parametrize(
    ("body", "line", "text"),
    [
        ("SELECT nope FROM first;", 4, 'column "nope" does not exist'),
        ("/* a; */ CREATE TABLE\n first (id int);", 4, 'relation "first" already exists'),
        ("SELECT ';', $$;$$, E'\\';';\nSELECT 1/0;", 5, "division by zero"),
        ("INSERT INTO first VALUES (1);\n\nINSERT INTO first VALUES (1);", 6, "Key (id)=(1) already exists"),
        ("DO $x$ BEGIN\n RAISE 'stop';\nEND $x$;", 4, "line 2 at RAISE"),
        ("SELEC 1;", 4, 'syntax error at or near "SELEC"'),
    ],
)
async def test_a_failing_file_changes_nothing_and_is_named_with_line_and_reason(
    empty_database_url: str, folder: Path, body: str, line: int, text: str
) -> None:
    (folder / SECOND).write_text(f"-- why\n-- up\nCREATE TABLE second (id int); -- ;\n{body}\n-- down\nSELECT 1;\n")
    message = await refusal(empty_database_url, folder)
    assert message.startswith(f"{SECOND}, line {line}: ")
    assert text in message
    assert await value(empty_database_url, b"SELECT to_regclass('second')") is None
    assert await check(empty_database_url, folder=folder) == [SECOND]
    (folder / SECOND).write_text(SECOND_SQL)
    assert await migrate(empty_database_url, folder=folder) == [SECOND]


async def test_a_constraint_checked_at_commit_fails_the_file(empty_database_url: str, folder: Path) -> None:
    deferred = "CREATE TABLE t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (1), (1);"
    (folder / SECOND).write_text(f"-- up\n{deferred}\n-- down\nSELECT 1;\n")
    assert (await refusal(empty_database_url, folder)).startswith(f"{SECOND}: duplicate key value")
    assert await check(empty_database_url, folder=folder) == [SECOND]


async def test_a_file_leaves_no_role_or_setting_to_the_next(empty_database_url: str, folder: Path) -> None:
    (folder / FIRST).write_text("-- up\nSET search_path = pg_catalog;\nSET ROLE pg_monitor;\n-- down\nSELECT 1;\n")
    (folder / SECOND).write_text("-- up\nCREATE TABLE second (id int);\n-- down\nDROP TABLE second;\n")
    assert await migrate(empty_database_url, folder=folder) == [FIRST, SECOND]
    assert await value(empty_database_url, b"SELECT to_regclass('public.second')") == "second"


async def test_down_takes_back_the_newest_and_stops_at_what_has_no_way_back(
    empty_database_url: str, folder: Path
) -> None:
    (folder / FIRST).write_text("-- up\nCREATE TABLE first (id int);\n-- down\n-- the rows cannot come back\n")
    await migrate(empty_database_url, folder=folder)
    with pytest.raises(MigrationError, match="at least 1"):
        await down(empty_database_url, 0, folder=folder)
    assert await down(empty_database_url, 1, folder=folder) == [SECOND]
    with pytest.raises(MigrationError, match="no statement under `-- down`"):
        await down(empty_database_url, 1, folder=folder)
    assert await check(empty_database_url, folder=folder) == [SECOND]


async def test_a_statement_that_waits_for_a_table_gives_way_and_is_tried_again(
    empty_database_url: str, folder: Path
) -> None:
    await migrate(empty_database_url, folder=folder, target=1)
    lines: list[str] = []
    async with await psycopg.AsyncConnection.connect(empty_database_url) as traffic:
        released = asyncio.Event()

        def report(line: str) -> None:
            lines.append(line)
            if "again" in line:
                released.set()

        await traffic.execute("SELECT * FROM first")
        runner = asyncio.create_task(migrate(empty_database_url, folder=folder, report=report))
        await asyncio.wait_for(released.wait(), 30)
        await traffic.rollback()
        assert await runner == [SECOND]
    assert lines[1] == f"trying {SECOND} again: canceling statement due to lock timeout (SQLSTATE 55P03)"


async def test_a_runner_waits_for_another_without_holding_a_snapshot(empty_database_url: str, folder: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    async with await psycopg.AsyncConnection.connect(empty_database_url, autocommit=True) as other:
        await other.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        runner = asyncio.create_task(migrate(empty_database_url, folder=folder, report=said.put_nowait))
        assert await asyncio.wait_for(said.get(), 30) == "waiting for another runner to finish"
        holding = (
            b"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            b"AND application_name = 'spell-migrate' AND wait_event_type = 'Lock'"
        )
        assert await value(empty_database_url, holding) == 0
        await other.execute("SELECT pg_advisory_unlock(%s)", (LOCK_KEY,))
        assert await runner == [FIRST, SECOND]


async def test_a_killed_runner_gives_its_turn_up_in_the_middle_of_a_statement(
    empty_database_url: str, folder: Path
) -> None:
    (folder / SECOND).write_text("-- up\nSELECT pg_sleep(120);\n-- down\nSELECT 1;\n")
    program = (
        "import asyncio, pathlib, sys; from migrations.runner import migrate; "
        "asyncio.run(migrate(sys.argv[1], folder=pathlib.Path(sys.argv[2])))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, empty_database_url, str(folder))
    try:
        await until_asleep(empty_database_url)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
    (folder / SECOND).write_text(SECOND_SQL)
    started = monotonic()
    assert await migrate(empty_database_url, folder=folder) == [SECOND]
    assert monotonic() - started < 60, "the dead runner's statement sleeps for 120 s; its lock must not"


async def test_any_role_may_ask_what_is_pending(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("SET ROLE spell_app")
        assert await pending_on(connection) == []


async def test_trouble_with_the_connection_is_one_line_without_the_password() -> None:
    url = "postgresql://someone:hunter2@127.0.0.1:1/nowhere"
    with pytest.raises(MigrationError, match="look whether the address is right and the server up") as caught:
        await migrate(url)
    assert "hunter2" not in str(caught.value)
