"""What the fixtures of every other test promise."""

from pathlib import Path

import psycopg
import pytest
from redis import Redis as Client

from local.servers import Servers
from tests.servers import TestDatabases, run_test_servers


def _tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in rows}


def test_an_empty_database_has_no_table(empty_database_url: str) -> None:
    assert _tables(empty_database_url) == set()


@pytest.mark.parametrize("turn", [1, 2])
def test_a_database_has_the_schema_and_nothing_of_the_test_before(database_url: str, turn: int) -> None:
    assert {"schema_migrations", "accounts", "casts"} <= _tables(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT to_regclass('left_behind')").fetchone() == (None,), turn
        connection.execute("CREATE TABLE left_behind ()")


@pytest.mark.parametrize("turn", [1, 2])
def test_redis_is_empty(redis_url: str, turn: int) -> None:
    with Client.from_url(redis_url) as client:
        assert client.dbsize() == 0, turn
        client.set("left-behind", "1")


def test_a_dropped_database_is_gone_even_with_a_session_open(test_databases: TestDatabases, servers: Servers) -> None:
    url = test_databases.create()
    with psycopg.connect(url):
        test_databases.drop(url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)
    assert psycopg.connect(servers.database_url).close() is None


def test_named_servers_are_used_instead(servers: Servers, tmp_path: Path) -> None:
    environment = {"TEST_DATABASE_URL": servers.database_url, "TEST_REDIS_URL": servers.redis_url, "TMP": str(tmp_path)}
    with run_test_servers(environment) as named:
        assert (named.database_url, named.redis_url) == (servers.database_url, servers.redis_url)
        assert named.postgres is None
        assert named.redis is None
