"""Dramatiq's own tests find our broker wherever they ask for one of theirs.

`run.py` lays this file beside them as `conftest.py`. What a test broker can do and a real one need not is added here:
`join` that fails fast, and dead letters as messages. Everything else is the broker as it is shipped.
"""

import os
import signal
import sys
from collections.abc import Callable, Generator
from unittest.mock import MagicMock

import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.broker import MessageProxy
from dramatiq.rate_limits import RateLimiterBackend
from dramatiq.rate_limits import backends as rate_limiter_backends
from dramatiq.results import ResultBackend
from dramatiq.results import backends as result_backends
from redis import Redis

from workers import keys
from workers.broker import StreamsBroker

REDIS_URL = os.environ["CONFORMANCE_REDIS_URL"]
SECONDS_MAX = 60

# Some files import Dramatiq's RabbitMQ broker beside what they test; its library is not installed and never called.
for name in ("pika", "pika.exceptions"):
    sys.modules.setdefault(name, MagicMock())


class Failures(dramatiq.Middleware):
    """Remembers what the messages that failed for good raised: kind and words, for the error itself must be let go.

    Before they are rejected: a queue whose last rejection has reached Redis is joined, and `join` asks here then.
    """

    def __init__(self) -> None:
        self.errors: list[tuple[type[BaseException], tuple[object, ...]]] = []

    def before_nack(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        del broker
        error = message._exception or Exception("Message failed with unknown error")
        self.errors.append((type(error), error.args))


class ConformanceBroker(StreamsBroker):
    """The shipped broker with the two conveniences of Dramatiq's stub broker that its tests lean on."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.failures = Failures()
        self.add_middleware(self.failures)

    def join(
        self, queue_name: str, *, interval: int = 20, timeout: int | None = None, fail_fast: bool | None = None
    ) -> None:
        super().join(queue_name, interval=interval, timeout=timeout)
        if fail_fast is not False and self.failures.errors:
            kind, words = self.failures.errors[0]
            raise kind(*words)

    @property
    def dead_letters(self) -> list[dramatiq.Message]:
        """The messages in Redis' dead-letter streams, decoded."""
        assert self.flush_acknowledgements()
        with Redis.from_url(REDIS_URL) as client:
            entries = [entry for name in self.queues for entry in client.xrange(keys.dead(name))]
        return [dramatiq.Message.decode(fields[b"m"]) for _, fields in entries]


@pytest.fixture(autouse=True)
def _patience() -> Generator[None]:
    """Some of these tests join without a limit: whatever waits for long fails here instead of hanging the run."""

    def give_up(*_: object) -> None:
        pytest.fail(f"no end after {SECONDS_MAX} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS_MAX)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    with Redis.from_url(REDIS_URL) as client:
        client.flushall()


@pytest.fixture
def stub_broker() -> Generator[StreamsBroker]:
    broker = ConformanceBroker(REDIS_URL)
    broker.emit_after("process_boot")
    dramatiq.set_broker(broker)
    yield broker
    broker.close()


@pytest.fixture
def stub_worker(stub_broker: StreamsBroker) -> Generator[Worker]:
    worker = Worker(stub_broker, worker_timeout=100, worker_threads=32)
    worker.start()
    yield worker
    worker.stop()


@pytest.fixture
def redis_broker(stub_broker: StreamsBroker) -> StreamsBroker:
    return stub_broker


@pytest.fixture
def redis_worker(stub_worker: Worker) -> Worker:
    return stub_worker


@pytest.fixture
def rabbitmq_broker(stub_broker: StreamsBroker) -> StreamsBroker:
    return stub_broker


@pytest.fixture
def rabbitmq_worker(stub_worker: Worker) -> Worker:
    return stub_worker


RESULTS: dict[str, Callable[[], ResultBackend]] = {
    "redis": lambda: result_backends.RedisBackend(url=REDIS_URL),
    "stub": result_backends.StubBackend,
}
RATES: dict[str, Callable[[], RateLimiterBackend]] = {
    "redis": lambda: rate_limiter_backends.RedisBackend(url=REDIS_URL),
    "stub": rate_limiter_backends.StubBackend,
}


@pytest.fixture(params=sorted(RESULTS))
def result_backend(request: pytest.FixtureRequest) -> ResultBackend:
    return RESULTS[request.param]()


@pytest.fixture
def redis_result_backend() -> ResultBackend:
    return RESULTS["redis"]()


@pytest.fixture(params=sorted(RATES))
def rate_limiter_backend(request: pytest.FixtureRequest) -> RateLimiterBackend:
    return RATES[request.param]()
