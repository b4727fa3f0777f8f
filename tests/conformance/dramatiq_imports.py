"""What Dramatiq's tests import from their own `common`, which its source distribution leaves out."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from dramatiq import Broker, Worker

RABBITMQ_USERNAME = RABBITMQ_PASSWORD = ""
RABBITMQ_CREDENTIALS = None

# Each is what it says on the machines this suite knows: CPython on Linux, not somebody else's CI.
skip_on_windows = skip_on_pypy = skip_in_ci = pytest.mark.skipif(condition=False, reason="")


@contextmanager
def worker(*arguments: Any, **options: Any) -> Generator[Worker]:
    """Run a worker for the block."""
    running = Worker(*arguments, **options)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def make_broker(*_: Any, **__: Any) -> Broker:
    pytest.skip("RabbitMQ")
