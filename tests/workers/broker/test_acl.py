"""The shipped users on a real server: each does its whole work, and nothing of another's."""

import asyncio
from collections.abc import Callable, Generator
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import dramatiq
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoPermissionError

from domain.model.limits import INLINE_BYTES_MAX
from domain.model.messages import CastJob, UsageEvent
from tests.workers.broker.pools import lost_event, take, until
from workers import keys
from workers.broker import StreamsBroker, wire
from workers.broker.acl import redis_acl

Jobs = Callable[..., CastJob]
Events = Callable[..., UsageEvent]
Encode = Callable[[object], bytes]
USERS = ("api", "ledger", "worker-default", "worker-large")
PASSWORD = "correct horse"


def url_of(redis_url: str, user: str) -> str:
    """Return the server's URL for one of the users."""
    parts = urlsplit(redis_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{PASSWORD}@{host}".replace(" ", "%20")))


@pytest.fixture(autouse=True)
def _users(client: Redis) -> Generator[None]:
    for line in redis_acl(dict.fromkeys(USERS, PASSWORD)).splitlines():
        _, name, *rules = line.split()
        if name != "default":
            client.execute_command("ACL", "SETUSER", name, "reset", *rules)
    yield
    client.execute_command("ACL", "DELUSER", *USERS)


def refuses(redis_url: str, user: str, *command: str | bytes | int) -> bool:
    """Say whether the server refuses a command to a user for want of permission."""
    with Redis.from_url(url_of(redis_url, user), protocol=2) as client:
        try:
            client.execute_command(*command)
        except NoPermissionError:
            return True
        return False


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("MONITOR",),
        ("ACL", "LIST"),
        ("CLIENT", "LIST"),
        ("DEL", "{default:0}:jobs"),
        ("GET", "foreign"),
    ],
)
def test_nobody_may_do_what_no_process_needs(redis_url: str, user: str, command: tuple[str, ...]) -> None:
    assert refuses(redis_url, user, *command)


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("worker-default", ("SADD", keys.open_set("default"), "1")),
        ("worker-default", ("XADD", keys.jobs("large"), "*", "m", "1")),
        ("worker-default", ("GET", keys.input_beside("large", UUID(int=1)))),
        ("worker-large", ("XADD", keys.usage("default"), "*", "e", "1")),
        ("worker-default", ("GET", keys.rate("somebody"))),
        ("worker-default", ("PUBLISH", keys.wake_channel(), "1")),
        ("api", ("XREADGROUP", "GROUP", "ledger", "me", "STREAMS", keys.usage("default"), ">")),
        ("api", ("PUBLISH", keys.wake_channel(), "1")),
        ("api", ("GET", keys.output_beside("default", UUID(int=1)))),
        ("ledger", ("GET", keys.input_beside("default", UUID(int=1)))),
    ],
)
def test_each_keeps_to_its_own(redis_url: str, user: str, command: tuple[str, ...]) -> None:
    assert refuses(redis_url, user, *command)


def test_a_worker_and_a_ledger_do_all_their_work(
    redis_url: str, client: Redis, make_job: Jobs, make_event: Events, encode: Encode
) -> None:
    """A whole life: put, read, report, retry, claim, bury, requeue, beat; then read, finish, park, wake."""
    text = b"x" * (INLINE_BYTES_MAX + 1)

    async def put_and_ask() -> None:
        async with AsyncRedis.from_url(url_of(redis_url, "api")) as redis:
            await wire.put(redis, "default", [make_job(number, input=text) for number in range(4)])
            await wire.missing(redis, "default", [UUID(int=1)])
            await wire.request_cancel(redis, "default", [UUID(int=9)])
            await wire.remove(redis, "default", [UUID(int=9)])
            await wire.wire_state(redis, "default")

    asyncio.run(put_and_ask())
    url = url_of(redis_url, "worker-default")
    broker = StreamsBroker(url, middleware=[], metered={"default": lost_event}, heartbeat_ms=20, claim_idle_ms=100)
    broker.declare_queue("default")
    consumer = broker.consume("default", prefetch=16, timeout=50)
    reported, retried, buried, requeued = take(consumer, 4)
    assert broker.load_input(reported) == text
    assert broker.record_start(buried.entry)
    assert not broker.is_poison(buried.entry)
    broker.report(reported, encode(make_event(0, output_beside=True)), text)
    broker.enqueue(retried, delay=0)
    for message in (reported, retried):
        consumer.ack(message)
    broker.bury(buried, "poison")
    consumer.requeue([requeued])
    assert broker.flush_acknowledgements()
    assert {message.message_id[-1] for message in take(consumer, 2)} == {"1", "3"}
    until(lambda: client.zcard(keys.workers("default")) == 1, "the worker has said that it lives")
    assert broker._beat.beat_once(1e9) == 2
    consumer.close()
    broker.close()

    async def settle() -> None:
        async with AsyncRedis.from_url(url_of(redis_url, "ledger")) as redis:
            reader = wire.UsageReader(redis, "default", "one", claim_idle_ms=0)
            entries = await reader.read(block_ms=10)
            assert [entry.output for entry in entries] == [text, None]
            await reader.finish(entries[:1], UUID(int=0).bytes)
            await reader.park(entries[1], "for the test", final=True)

    asyncio.run(settle())
    assert client.xlen(keys.usage("default")) == 0


def test_the_file_is_one_a_server_loads(redis_url: str) -> None:
    text = redis_acl(dict.fromkeys(USERS, PASSWORD))
    assert "PASSWORD_SHA256" not in text
    assert all(line.startswith("user ") for line in text.splitlines())
    with pytest.raises(KeyError, match="ledger"):
        redis_acl({"api": PASSWORD})
    assert dramatiq.get_encoder() is not None
    assert redis_url
