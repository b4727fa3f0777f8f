"""Fixtures every test may ask for. Servers start on first use, once per run and process."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from local.servers import Servers
from tests.servers import TestDatabases, flush_redis, revive, run_test_servers

# How long an example takes, or making one, says how busy the machine is and nothing about the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session")
def servers() -> Generator[Servers]:
    """Postgres and Redis of this run. Where they are embedded, a test may `kill()`, `stop()` and `start()` them."""
    with run_test_servers(os.environ) as running:
        yield running


@pytest.fixture(scope="session")
def test_databases(servers: Servers) -> TestDatabases:
    return TestDatabases(servers)


@pytest.fixture(scope="session")
def template_database_url(test_databases: TestDatabases, servers: Servers) -> Generator[str]:
    """The migrated database that is copied for each test; nobody connects to it, or copying would be refused."""
    url = test_databases.create_migrated()
    yield url
    revive(servers)
    test_databases.drop(url)


@pytest.fixture
def empty_database_url(test_databases: TestDatabases, servers: Servers) -> Generator[str]:
    """A database of the test's own without any schema; the URL is the owner's."""
    revive(servers)
    url = test_databases.create()
    yield url
    revive(servers)
    test_databases.drop(url)


@pytest.fixture
def database_url(test_databases: TestDatabases, template_database_url: str, servers: Servers) -> Generator[str]:
    """A database of the test's own with the whole schema and no rows but those of migrations; the owner's URL."""
    revive(servers)
    url = test_databases.create(template=template_database_url)
    yield url
    revive(servers)
    test_databases.drop(url)


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The run's Redis, emptied before the test."""
    revive(servers)
    flush_redis(servers.redis_url)
    return servers.redis_url
