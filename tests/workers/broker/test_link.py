"""Round trips past redis-py, from threads: whatever becomes of one, the next gets its own answers."""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as SilentError

from local.ports import LOOPBACK
from tests.workers.broker.pools import until
from workers.broker import link as module
from workers.broker.link import READ_BYTES, Link, connection_pool


@pytest.fixture(name="link", params=[2, 3])
def link_of_both_protocols(
    redis_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Generator[Link]:
    monkeypatch.setattr(module, "SOCKET_TIMEOUT_S", 0.5)
    link = Link(connection_pool(f"{redis_url}?protocol={request.param}"))
    yield link
    link.close()


def test_answers_come_in_order_and_errors_among_them(link: Link) -> None:
    answers = link.run([("PING",), ("NONSENSE",), ("EVALSHA", "0" * 40, 0), ("ECHO", b"\xff")])
    assert (answers[0], answers[3]) == (b"PONG", b"\xff")
    assert isinstance(answers[1], ResponseError)
    assert isinstance(answers[2], NoScriptError)
    assert link.run([]) == []


def test_an_answer_longer_than_one_read(link: Link) -> None:
    long = b"x" * (5 * READ_BYTES)
    assert link.run([("ECHO", long), ("PING",)]) == [long, b"PONG"]


def test_one_after_the_other_share_a_connection_and_at_once_they_have_one_each(link: Link) -> None:
    assert len({link.call("CLIENT", "ID") for _ in range(5)}) == 1
    together = threading.Barrier(8)

    def echo(number: int) -> object:
        together.wait()
        return link.call("ECHO", number)

    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            assert list(threads.map(echo, range(8))) == [b"%d" % number for number in range(8)]


def test_a_connection_closed_while_it_was_idle_is_replaced_unseen(link: Link, client: Redis) -> None:
    number = link.call("CLIENT", "ID")
    client.client_kill_filter(_id=str(number))
    until(lambda: not any(one["id"] == str(number) for one in client.client_list()), "it is gone")
    assert link.call("PING") == b"PONG"


def test_a_connection_that_breaks_is_said_to_and_not_used_again(link: Link, client: Redis) -> None:
    number = link.call("CLIENT", "ID")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(link.call, "BLPOP", "nothing", 0)
        until(lambda: any(one["cmd"] == "blpop" for one in client.client_list()), "it waits")
        client.client_kill_filter(_id=str(number))
        with pytest.raises(LostError):
            waiting.result()
    assert link.call("PING") == b"PONG"


def test_a_silent_server_is_not_waited_for_and_its_late_answer_is_nobodys(link: Link) -> None:
    with pytest.raises(SilentError):
        link.call("BLPOP", "nothing", 30)
    assert link.run([("ECHO", "mine"), ("PING",)]) == [b"mine", b"PONG"]


def test_without_a_server_it_says_so() -> None:
    link = Link(connection_pool(f"redis://{LOOPBACK}:1"))
    with pytest.raises(LostError):
        link.call("PING")


def test_a_server_that_does_not_know_us_is_an_error_of_the_connection(link: Link) -> None:
    with pytest.raises(LostError):
        link.call("AUTH", "nobody", "nothing")
    assert link.call("PING") == b"PONG"


def test_a_process_uses_no_connection_of_the_one_it_was_forked_from(link: Link) -> None:
    of_the_parent = link.call("CLIENT", "ID")
    link._process += 1
    assert link.call("CLIENT", "ID") != of_the_parent


def test_after_closing_new_connections_are_opened(link: Link, client: Redis) -> None:
    number = link.call("CLIENT", "ID")
    link.close()
    until(lambda: not any(one["id"] == str(number) for one in client.client_list()), "it is closed")
    assert link.call("PING") == b"PONG"
