"""The one seam between the broker's threads and redis-py: commands in, raw replies out, one round trip.

redis-py's own pipeline costs 15 microseconds a command and hides where a retry happens. Here nothing is repeated
behind the caller's back: a broken connection surfaces, and who calls decides what may run twice.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

import redis
from hiredis import pack_command  # pyright: ignore[reportUnknownVariableType]  its stub leaves the result open
from redis.exceptions import NoScriptError, ResponseError

from workers.broker.scripts import Script

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Argument, ...]
Reply: TypeAlias = "bytes | str | int | float | bool | ResponseError | list[Reply] | dict[Reply, Reply] | None"

# Blocking reads end after 100 ms; a server silent for five seconds is gone, or as good as gone.
SOCKET_TIMEOUT_S: Final = 5
CONNECT_TIMEOUT_S: Final = 2

# After this the kernel gives up on what was sent and not acknowledged. Closing a socket does not take it back: without
# a limit a command that we counted as lost a minute ago is still delivered when the network is back.
UNACKNOWLEDGED_MS: Final = 2_000
_KEEP_ALIVE_IDLE_S: Final = 30
_KEEP_ALIVE_INTERVAL_S: Final = 5
_KEEP_ALIVE_PROBES: Final = 3

# Its stub knows tuples of one only.
_pack: Final = cast("Callable[[Command], bytes]", pack_command)

LINK_ERRORS: Final = (redis.ConnectionError, redis.TimeoutError)


def connection_pool(url: str) -> redis.ConnectionPool:
    """Return a pool of raw connections. RESP2 unless the URL says `?protocol=3`: the replies are read alike."""
    return redis.ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]  redis-py leaves options untyped
        url,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        driver_info=None,
        **tcp_options(url),
    )


def tcp_options(url: str) -> Mapping[str, Any]:
    """Return redis-py's options for a TCP connection that ends when the network goes silent; a unix socket has none."""
    if url.startswith("unix:"):
        return {}
    options = {
        socket.TCP_KEEPIDLE: _KEEP_ALIVE_IDLE_S,
        socket.TCP_KEEPINTVL: _KEEP_ALIVE_INTERVAL_S,
        socket.TCP_KEEPCNT: _KEEP_ALIVE_PROBES,
        socket.TCP_USER_TIMEOUT: UNACKNOWLEDGED_MS,
    }
    return {"socket_keepalive": True, "socket_keepalive_options": options}


class _Connection(Protocol):
    """What is used of redis-py's connection, which has no types of its own."""

    def send_packed_command(self, command: list[bytes]) -> None: ...
    def read_response(self, *, disable_decoding: bool) -> Reply: ...
    def disconnect(self) -> None: ...


class _Pool(Protocol):
    """What is used of redis-py's connection pool."""

    def get_connection(self) -> _Connection: ...
    def release(self, connection: _Connection) -> None: ...
    def disconnect(self) -> None: ...


class Link:
    """Sends commands from any thread over a pool of connections."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = cast("_Pool", pool)

    def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Send all commands at once and return their replies in order; an error reply is returned, not raised.

        Raises one of LINK_ERRORS when the connection breaks: then any of the commands may have been executed.
        """
        if not commands:
            return []
        connection = self._pool.get_connection()
        try:
            connection.send_packed_command([packed(commands)])
            return [_read(connection) for _ in commands]
        except BaseException:
            # Replies may be half read: this socket cannot be used again.
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)

    def call(self, *command: Argument) -> Reply:
        """Send one command; an error reply is raised as ResponseError."""
        return checked(self.run([command])[0])

    def script(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Reply:
        """Run a script by its digest, loading it first where the server does not know it."""
        command: Command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        reply = self.run([command])[0]
        if isinstance(reply, NoScriptError):
            reply = self.run([("SCRIPT", "LOAD", script.text), command])[1]
        return checked(reply)

    def close(self) -> None:
        """Drop every connection; a later call opens new ones."""
        self._pool.disconnect()


def packed(commands: Sequence[Command]) -> bytes:
    """Return what is sent for these commands; redis-py's own packing costs two microseconds an argument."""
    return b"".join(map(_pack, commands))


def checked(reply: Reply) -> Reply:
    """Return the reply, or raise it when it is an error."""
    if isinstance(reply, ResponseError):
        raise reply
    return reply


def _read(connection: _Connection) -> Reply:
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error
