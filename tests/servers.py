"""The Postgres and Redis the tests run on, and a database of its own for each test."""

import asyncio
import os
import secrets
import shutil
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from redis import Redis as Client

from local.servers import Servers, run_servers
from migrations.runner import migrate
from tests.distribution import run_distribution_servers

# Whatever is committed survives the death of Postgres, which tests cause, but not that of the machine. With fsync a
# copy of the template takes 0.6 to 2 s on a busy disk, without 0.3 to 0.5 s there and 0.05 s in memory (measured);
# every other test takes one.
SURVIVES_KILLS: Final = {"fsync": "off"}
_MEMORY: Final = Path("/dev/shm")
# Containers often have 64 MiB of it. A pair of servers takes 0.2 GiB, and its log of changes up to 1 GiB.
_MEMORY_FREE_MIN_BYTES: Final = 4 * 1024**3


@contextmanager
def run_test_servers(environment: Mapping[str, str]) -> Generator[Servers]:
    """Run the embedded pair in a fresh folder, except where TEST_DATABASE_URL or TEST_REDIS_URL name a server.

    A named Postgres must let its user create databases; a named Redis is emptied before each test. With
    TEST_SERVERS=distribution the pair is what the distribution installed instead of the embedded one.
    """
    with tempfile.TemporaryDirectory(prefix="spell-tests-", dir=_memory()) as name:
        if environment.get("TEST_SERVERS") == "distribution":
            running = run_distribution_servers(Path(name), SURVIVES_KILLS)
        else:
            running = run_servers(
                Path(name),
                database_url=environment.get("TEST_DATABASE_URL") or None,
                redis_url=environment.get("TEST_REDIS_URL") or None,
                postgres_settings=SURVIVES_KILLS,
            )
        with running as servers:
            yield servers


def _memory() -> Path | None:
    """Return a folder that is no disk, where there is one with room for the servers of all processes."""
    usable = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _MEMORY_FREE_MIN_BYTES
    return _MEMORY if usable else None


class TestDatabases:
    """Makes and drops databases on one server, all named for this run, so that two runs may share the server."""

    __test__ = False

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._run = secrets.token_hex(4)
        self._made = 0

    def create(self, template: str | None = None) -> str:
        """Make a database, empty or a copy of the database behind the URL `template`, and return its URL."""
        self._made += 1
        name = f"spell_test_{self._run}_{self._made}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            # file_copy: 48 ms against 100 ms of wal_log for the migrated schema (measured with fsync on).
            copied = sql.SQL(" TEMPLATE {} STRATEGY file_copy").format(sql.Identifier(_database_name(template)))
            statement += copied
        self._execute(statement)
        return urlunsplit(urlsplit(self._servers.database_url)._replace(path=f"/{name}"))

    def create_migrated(self) -> str:
        """Make a database with the whole schema, and return its URL. Not from inside an event loop."""
        url = self.create()
        asyncio.run(migrate(url))
        return url

    def drop(self, url: str) -> None:
        """Drop the database, ending the sessions a test left open in it."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_database_name(url))))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._servers.database_url, autocommit=True) as connection:
            connection.execute(statement)


def flush_redis(url: str) -> None:
    """Empty every database of the Redis server."""
    with Client.from_url(url) as client:
        client.flushall()


def revive(servers: Servers) -> None:
    """Start what an earlier test killed and, failing, left dead: one test's trouble stays its own."""
    for server in (servers.postgres, servers.redis):
        if server is not None and not server.running:
            server.start()


def _database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
