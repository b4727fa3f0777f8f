from collections.abc import Generator

import pytest

from local.servers import Servers
from tests.servers import TestDatabases
from tests.stack import Stack, run_fresh_stack


@pytest.fixture(scope="module")
def module_stack(
    test_databases: TestDatabases,
    template_database_url: str,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Stack]:
    """The whole platform, started once for the tests of a file."""
    folder = tmp_path_factory.mktemp("stack")
    with run_fresh_stack(test_databases, template_database_url, servers, folder) as stack:
        yield stack


@pytest.fixture
def stack(module_stack: Stack) -> Stack:
    """The platform with every process running; whatever a test killed is started again for the next one."""
    module_stack.start()
    return module_stack
