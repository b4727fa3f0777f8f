import os
from collections.abc import Generator

import pytest

from local.servers import Servers
from tests.servers import TestDatabases, flush_redis, revive
from tests.stack import Stack, run_stack

# Nothing of the developer's own settings may reach the processes.
CLEAN = {
    name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "PYTHONPATH", "SPELL_JAIL"}
}


@pytest.fixture(scope="module")
def module_stack(
    test_databases: TestDatabases,
    template_database_url: str,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Stack]:
    """The whole platform, started once for the tests of a file."""
    revive(servers)
    flush_redis(servers.redis_url)
    database_url = test_databases.create(template=template_database_url)
    try:
        with run_stack(tmp_path_factory.mktemp("stack"), database_url, servers.redis_url, CLEAN) as stack:
            yield stack
    finally:
        revive(servers)
        test_databases.drop(database_url)


@pytest.fixture
def stack(module_stack: Stack) -> Stack:
    """The platform with every process running; whatever a test killed is started again for the next one."""
    module_stack.start()
    return module_stack
