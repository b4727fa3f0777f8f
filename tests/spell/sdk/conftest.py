from collections.abc import Generator

import pytest

from tests.spell.sdk.clients import Do, Time, awaiting, blocking
from tests.spell.sdk.servers import Scripted, closing


@pytest.fixture
def server() -> Generator[Scripted]:
    with closing(Scripted()) as scripted:
        yield scripted


@pytest.fixture(params=[blocking, awaiting])
def do(request: pytest.FixtureRequest) -> Do:
    """Do something with the synchronous client, then with the asynchronous one."""
    return request.param


@pytest.fixture
def time() -> Time:
    return Time()
