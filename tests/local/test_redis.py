"""One embedded Redis: what it keeps, what it refuses, and that it comes back where it was."""

import socket
from collections.abc import Generator
from pathlib import Path

import pytest
from redis import Redis as Client
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from local.folder import LocalServerError
from local.redis import Redis


@pytest.fixture
def durable(tmp_path: Path) -> Generator[Redis]:
    server = Redis(tmp_path / "redis", appendonly=True, settings={"appendfsync": "always"})
    server.start()
    yield server
    server.stop()


def test_with_the_append_only_file_what_was_written_survives_a_kill(durable: Redis) -> None:
    url = durable.url
    with Client.from_url(url) as client:
        client.set("word", "kept")
        durable.kill()
        assert not durable.running
        durable.start()
        assert durable.url == url
        assert client.get("word") == b"kept"


def test_without_it_every_start_is_empty(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis")
    for _ in range(2):
        server.start()
        try:
            with Client.from_url(server.url) as client:
                assert client.dbsize() == 0
                client.set("word", "lost")
        finally:
            server.stop()


def test_a_stopped_server_takes_no_connection(durable: Redis) -> None:
    durable.stop()
    with Client.from_url(durable.url, retry=None) as client, pytest.raises(RedisConnectionError):
        client.ping()


def test_a_full_server_refuses_and_forgets_nothing(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", settings={"maxmemory": "2mb"})
    server.start()
    try:
        with Client.from_url(server.url) as client:
            client.set("first", "kept")
            fill = client.pipeline(transaction=False)
            for number in range(100):
                fill.set(f"filler-{number}", b"x" * 100_000)
            with pytest.raises(OutOfMemoryError):
                fill.execute()
            assert client.get("first") == b"kept"
    finally:
        server.stop()


def test_it_listens_on_its_socket_however_long_the_path(tmp_path: Path) -> None:
    server = Redis(tmp_path / ("deep" * 30) / "redis")
    server.start()
    try:
        assert server.socket_path is None
        with Client.from_url(server.url) as client:
            assert client.ping()
    finally:
        server.stop()


def test_a_port_lost_between_looking_and_listening_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        # Nothing else can place a rival exactly between our look and the server's.
        monkeypatch.setattr("local.process.kept_port", lambda _file: taken)
        server = Redis(tmp_path / "redis")
        server.start()
        try:
            assert server.port != taken
            with Client.from_url(server.url) as client:
                assert client.ping()
        finally:
            server.stop()


def test_a_setting_redis_does_not_know_is_an_error_that_names_it(tmp_path: Path) -> None:
    server = Redis(tmp_path / "redis", settings={"no-such-setting": "1"})
    with pytest.raises(LocalServerError, match="no-such-setting") as caught:
        server.start()
    assert "\n" not in str(caught.value)
