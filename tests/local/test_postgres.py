"""One embedded Postgres under bad luck: crashes, stale files, taken ports, closed folders."""

import os
import signal
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from domain.environment import postgres_url
from local import identity, process
from local.folder import LocalServerError
from local.postgres import Postgres


@pytest.fixture
def postgres(tmp_path: Path) -> Generator[Postgres]:
    server = Postgres(tmp_path / "postgres")
    server.start()
    yield server
    server.stop()


def _count_to(url: str, number: int) -> int | None:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM generate_series(1, %s)", [number]).fetchone()
    return None if row is None else row[0]


def test_a_committed_row_survives_a_kill_and_the_url_stays(postgres: Postgres) -> None:
    url = postgres.url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept ()")
        connection.execute("INSERT INTO kept DEFAULT VALUES")
        connection.commit()
        postgres.kill()
        assert not postgres.running
        postgres.start()
        assert postgres.url == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)


def test_a_stale_pid_file_that_names_a_living_process_blocks_nothing(postgres: Postgres, tmp_path: Path) -> None:
    postgres.kill()
    pid_file = tmp_path / "postgres/data/postmaster.pid"
    lines = pid_file.read_text(encoding="utf-8").splitlines(keepends=True)
    # A process of the same user, which is what Postgres takes for a running server.
    pid_file.write_text("".join([f"{os.getppid()}\n", *lines[1:]]), encoding="utf-8")
    postgres.start()
    assert _count_to(postgres.url, 3) == 3


def test_the_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "postgres")
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        before = server.process_id
        assert _count_to(server.url, 3) == 3
        assert server.running
        assert server.process_id == before
    finally:
        server.stop()


def test_a_leftover_that_does_not_end_is_killed(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LEFTOVER_SECONDS_MAX", 0.2)
    leftover = postgres.process_id
    os.kill(leftover, signal.SIGSTOP)
    successor = Postgres(tmp_path / "postgres")
    successor.start()
    try:
        assert successor.process_id != leftover
        assert _count_to(successor.url, 3) == 3
    finally:
        successor.stop()


def test_a_taken_port_is_replaced_by_another(tmp_path: Path) -> None:
    first = Postgres(tmp_path / "postgres")
    first.start()
    first.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", first.port))
        squatter.listen()
        second = Postgres(tmp_path / "postgres")
        second.start()
        try:
            assert second.port != first.port
            assert _count_to(second.url, 3) == 3
        finally:
            second.stop()
    assert (tmp_path / "postgres/port").read_text(encoding="ascii") == str(second.port)


def test_a_port_lost_between_looking_and_listening_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        # Nothing else can place a rival exactly between our look and the server's.
        monkeypatch.setattr("local.process.kept_port", lambda _file: taken)
        server = Postgres(tmp_path / "postgres")
        server.start()
        try:
            assert server.port != taken
            assert _count_to(server.url, 3) == 3
        finally:
            server.stop()


def test_ports_are_below_those_of_outgoing_connections(postgres: Postgres) -> None:
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    assert postgres.port < first_outgoing


@pytest.mark.parametrize("name", ["deep" * 30, "one, two"])
def test_a_folder_that_is_no_host_still_starts(tmp_path: Path, name: str) -> None:
    server = Postgres(tmp_path / name / "postgres")
    server.start()
    try:
        assert server.socket_folder is None
        assert server.nearest_url == server.url
        assert _count_to(server.url, 3) == 3
    finally:
        server.stop()


def test_the_socket_takes_the_owner_with_the_password(postgres: Postgres) -> None:
    host = str(postgres.socket_folder)
    with psycopg.connect(postgres.nearest_url) as connection:
        assert (connection.info.host, connection.info.port) == (host, postgres.port)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.nearest_url, password="wrong")


def test_a_folder_whatever_its_name_is_in_the_url_of_its_socket() -> None:
    # Not pytest's folder, whose path can be longer than a socket's may be.
    with TemporaryDirectory() as short:
        server = Postgres(Path(short) / "a & b%20=ü" / "postgres")
        server.start()
        try:
            assert postgres_url(server.nearest_url)
            with psycopg.connect(server.nearest_url) as connection:
                assert connection.info.host == str(server.socket_folder)
        finally:
            server.stop()


def test_an_interrupted_initdb_is_done_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "data.fresh" / "base"
    half.mkdir(parents=True)
    server = Postgres(tmp_path / "postgres")
    server.start()
    try:
        assert _count_to(server.url, 3) == 3
    finally:
        server.stop()
    assert not half.parent.exists()


def test_a_setting_postgres_does_not_know_is_an_error_that_names_it(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "postgres", settings={"no_such_setting": "1"})
    with pytest.raises(LocalServerError, match="no_such_setting") as caught:
        server.start()
    assert "\n" not in str(caught.value)
    assert not server.running


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_without_user_namespaces_runs_it_under_a_spare_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a container that refuses user namespaces leaves of the choice.
    monkeypatch.setattr("local.postgres.choose_identity", lambda folder, _program: identity.under_spare_id(folder))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = Postgres(closed / "postgres")
    server.start()
    try:
        status = Path(f"/proc/{server.process_id}/status").read_text(encoding="ascii")
        (users,) = [line.split()[1:] for line in status.splitlines() if line.startswith("Uid:")]
        assert all(int(user) in identity.SPARE_IDS for user in users)
        assert _count_to(server.url, 3) == 3
        assert (closed.stat().st_mode & 0o777, closed.stat().st_uid) == (0o700, 0)
    finally:
        server.stop()
    monkeypatch.undo()
    server.start()  # and back: the same data under the way this machine would choose
    try:
        assert _count_to(server.url, 3) == 3
    finally:
        server.stop()
