from collections.abc import Generator
from pathlib import Path

import pytest

from local.servers import Servers
from tests.api.platform import Account, Api, Rows, run_api
from tests.servers import TestDatabases, flush_redis, revive


@pytest.fixture(scope="module")
def api_database_url(test_databases: TestDatabases, template_database_url: str, servers: Servers) -> Generator[str]:
    """One database for the tests of a module: each test makes accounts of its own."""
    revive(servers)
    url = test_databases.create(template=template_database_url)
    opened = Rows(url)
    opened.price()  # before the api starts: it accepts nothing until it has read a price
    opened.close()
    yield url
    revive(servers)
    test_databases.drop(url)


@pytest.fixture(scope="module")
def rows(api_database_url: str) -> Generator[Rows]:
    found = Rows(api_database_url)
    found.price()
    yield found
    found.close()


@pytest.fixture(scope="module")
def api(
    api_database_url: str, servers: Servers, rows: Rows, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Api]:
    del rows  # the price book is read once a second, so it must be there first
    flush_redis(servers.redis_url)
    with run_api(api_database_url, servers.redis_url, tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def account(rows: Rows) -> Account:
    return rows.account()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")
