"""Round trips past redis-py: whatever becomes of one, the next gets its own answers."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as SilentError

from domain.model.limits import MIB
from local.ports import LOOPBACK
from tests.workers.broker.pools import until
from workers.broker.async_link import AsyncLink, listen


@pytest.fixture(params=[2, 3])
async def redis(redis_url: str, request: pytest.FixtureRequest) -> AsyncGenerator[AsyncRedis]:
    async with AsyncRedis.from_url(redis_url, protocol=request.param, socket_timeout=0.5) as redis:
        yield redis


def connections(client: Redis, name: str) -> int:
    return sum(connection["name"] == name for connection in client.client_list())


async def test_answers_come_in_order_and_errors_among_them(redis: AsyncRedis) -> None:
    answers = await AsyncLink(redis).run([("PING",), ("NONSENSE",), ("EVALSHA", "0" * 40, 0), ("ECHO", b"\xff")])
    assert (answers[0], answers[3]) == (b"PONG", b"\xff")
    assert isinstance(answers[1], ResponseError)
    assert isinstance(answers[2], NoScriptError)


async def test_an_answer_longer_than_one_read(redis: AsyncRedis) -> None:
    long = b"x" * (2 * MIB)
    assert await AsyncLink(redis).run([("ECHO", long), ("PING",)]) == [long, b"PONG"]


async def test_one_after_the_other_share_a_connection(redis: AsyncRedis, client: Redis) -> None:
    await AsyncLink(redis).call("CLIENT", "SETNAME", "shared")
    for _ in range(5):
        assert await AsyncLink(redis).call("CLIENT", "GETNAME") == b"shared"
    assert connections(client, "shared") == 1


async def test_at_once_they_have_one_each(redis: AsyncRedis) -> None:
    async def echo(number: int) -> object:
        return await AsyncLink(redis).call("ECHO", number)

    for _ in range(2):
        assert await asyncio.gather(*map(echo, range(20))) == [b"%d" % number for number in range(20)]


async def test_a_connection_closed_while_it_was_idle_is_replaced_unseen(redis: AsyncRedis, client: Redis) -> None:
    number = await AsyncLink(redis).call("CLIENT", "ID")
    client.client_kill_filter(_id=str(number))
    until(lambda: all(one["id"] != str(number) for one in client.client_list()), "the server has closed it")
    for _ in range(2):  # one turn of the loop hears that something has come, and behind it that is read
        await asyncio.sleep(0)
    assert await AsyncLink(redis).call("PING") == b"PONG"


async def test_a_connection_that_breaks_is_said_to_and_not_used_again(redis: AsyncRedis, client: Redis) -> None:
    link = AsyncLink(redis)
    number = await link.call("CLIENT", "ID")
    waiting = asyncio.create_task(link.call("BLPOP", "nothing", 0))
    await asyncio.sleep(0)
    await asyncio.to_thread(until, lambda: any(one["cmd"] == "blpop" for one in client.client_list()), "it waits")
    client.client_kill_filter(_id=str(number))
    with pytest.raises(LostError):
        await waiting
    assert await link.call("PING") == b"PONG"


async def test_a_silent_server_is_not_waited_for(redis: AsyncRedis) -> None:
    link = AsyncLink(redis)
    with pytest.raises(SilentError):
        await link.call("BLPOP", "nothing", 30)
    assert await link.call("PING") == b"PONG"


async def test_a_caller_may_wait_less_than_the_client_would(redis: AsyncRedis) -> None:
    link = AsyncLink(redis)
    with pytest.raises(SilentError, match=r"within 0\.05 s"):
        await link.run([("BLPOP", "nothing", 30)], within_s=0.05)
    assert await link.call("PING") == b"PONG"


async def test_what_nobody_asked_for_ends_the_connection(redis_url: str, client: Redis) -> None:
    async with AsyncRedis.from_url(redis_url, protocol=2) as redis:
        link = AsyncLink(redis)
        number = await link.call("CLIENT", "ID")
        await link.call("SUBSCRIBE", "news")
        client.publish("news", "in the older protocol nothing tells this from an answer")
        await asyncio.to_thread(until, lambda: all(one["id"] != str(number) for one in client.client_list()), "it ends")
        assert await link.call("PING") == b"PONG"


async def test_messages_are_passed_on_until_the_connection_breaks(redis: AsyncRedis, client: Redis) -> None:
    taken: list[bytes] = []
    listening = asyncio.create_task(listen(redis, "news", taken.append))
    await asyncio.to_thread(until, lambda: client.publish("news", b"\xff"), "somebody listens")
    await asyncio.to_thread(client.publish, "news", "second")
    await asyncio.to_thread(until, lambda: len(taken) > 1, "both have come")
    assert taken == [b"\xff", b"second"]
    client.client_kill_filter(_type="pubsub")
    with pytest.raises(LostError):
        await listening
    assert await AsyncLink(redis).call("PING") == b"PONG"


async def test_who_stops_listening_leaves_no_connection(redis: AsyncRedis, client: Redis) -> None:
    listening = asyncio.create_task(listen(redis, "news", lambda _: None))
    await asyncio.to_thread(until, lambda: client.publish("news", "heard"), "somebody listens")
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await asyncio.to_thread(until, lambda: not client.publish("news", "unheard"), "nobody listens")


async def test_an_answer_that_nobody_waited_for_is_nobody_elses(redis: AsyncRedis, client: Redis) -> None:
    link = AsyncLink(redis)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await link.call("BLPOP", "nothing", 0)
    client.lpush("nothing", "late")  # whoever still waits for it is answered before anything is asked
    assert await link.run([("ECHO", "mine"), ("PING",)]) == [b"mine", b"PONG"]


async def test_without_a_server_it_says_so() -> None:
    async with AsyncRedis.from_url(f"redis://{LOOPBACK}:1", socket_connect_timeout=0.5) as redis:
        with pytest.raises(LostError):
            await AsyncLink(redis).call("PING")


async def test_a_server_that_does_not_know_us_is_an_error_of_the_connection(redis: AsyncRedis) -> None:
    with pytest.raises(LostError):
        await AsyncLink(redis).call("AUTH", "nobody", "nothing")
    assert await AsyncLink(redis).call("PING") == b"PONG"


async def test_closing_the_client_closes_what_is_free(redis_url: str, client: Redis) -> None:
    async with AsyncRedis.from_url(redis_url, client_name="closing") as redis:
        await asyncio.gather(*(AsyncLink(redis).call("PING") for _ in range(3)))
        assert connections(client, "closing") == 3
    await asyncio.to_thread(until, lambda: not connections(client, "closing"), "they are closed")
