"""The one seam between the broker's threads and redis-py: commands in, raw replies out, one round trip.

redis-py opens the connections (addresses, TLS, users, versions of the protocol) and counts them. What is sent and read
afterwards goes past it: its pipeline costs 15 microseconds a command, reading a reply four and taking a connection 30,
and it hides where a retry happens. Here nothing is repeated behind the caller's back: a broken connection surfaces, and
who calls decides what may run twice.
"""

import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import hiredis
import redis
from hiredis import pack_command  # pyright: ignore[reportUnknownVariableType]  its stub leaves the result open
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from gateways.waiting import wait_at_most
from workers.broker.scripts import Script

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Argument, ...]
Reply: TypeAlias = "bytes | str | int | float | bool | ResponseError | list[Reply] | dict[Reply, Reply] | None"

# Blocking reads end after 100 ms; a server silent for five seconds is gone, or as good as gone.
SOCKET_TIMEOUT_S: Final = 5
CONNECT_TIMEOUT_S: Final = 2
READ_BYTES: Final = 65_536
_MORE: Final = object()
_LOST: Final = "The connection to Redis broke."
_SILENT: Final = f"Redis did not answer within {SOCKET_TIMEOUT_S} s."

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


class _Lane:
    """A connection that redis-py has opened, for one round trip at a time."""

    def __init__(self, connection: Any) -> None:  # redis-py's connection keeps what is needed here to itself
        self.connection: Final = connection
        self._socket: Final[socket.socket] = connection._sock  # noqa: SLF001
        parse_error: Callable[[str], Exception] = connection._parser.parse_error  # noqa: SLF001
        self._replies: Final = hiredis.Reader(
            protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_MORE
        )
        self._idle: Final = select.poll()
        self._idle.register(self._socket, select.POLLIN)
        if type(self._socket) is socket.socket:  # TLS reads and writes in pieces of its own, so Python waits for it
            self._socket.settimeout(None)
            wait_at_most(self._socket, SOCKET_TIMEOUT_S, socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it; nothing is to come, so what there is to read can only be the end."""
        return self.connection._sock is self._socket and not self._idle.poll(0)  # noqa: SLF001

    def run(self, sent: bytes, count: int) -> list[Reply]:
        """Send commands and return their replies. Raises redis.ConnectionError or redis.TimeoutError."""
        try:
            self._socket.sendall(sent)
            return [self._reply() for _ in range(count)]
        except (TimeoutError, BlockingIOError) as error:
            raise redis.TimeoutError(_SILENT) from error
        except OSError as error:
            raise redis.ConnectionError(_LOST) from error

    def _reply(self) -> Reply:
        while True:
            reply = self._replies.gets()
            if reply is _MORE:
                data = self._socket.recv(READ_BYTES)
                if not data:
                    raise redis.ConnectionError(_LOST)
                self._replies.feed(data)
            elif isinstance(reply, redis.ConnectionError):  # it is loading, or does not know us any more
                raise reply
            elif not isinstance(reply, hiredis.PushNotification):
                return cast("Reply", reply)


class Link:
    """Sends commands from any thread, over as many connections as threads do so at once."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool: Final = cast("Any", pool)  # its methods are untyped
        self._free: list[_Lane] = []
        self._process = os.getpid()

    def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Send all commands at once and return their replies in order; an error reply is returned, not raised.

        Raises one of LINK_ERRORS when the connection breaks: then any of the commands may have been executed.
        """
        if not commands:
            return []
        lane = self._lane()
        try:
            answers = lane.run(packed(commands), len(commands))
        except BaseException:
            # Replies may be half read: this socket cannot be used again.
            self._drop(lane)
            raise
        self._free.append(lane)
        return answers

    def _lane(self) -> _Lane:
        if self._process != os.getpid():
            # After a fork what is free here belongs to the parent; so says redis-py's pool of its own.
            self._free, self._process = [], os.getpid()
        while self._free:
            try:
                lane = self._free.pop()
            except IndexError:
                break  # another thread was faster
            if lane.is_open:
                return lane
            self._drop(lane)
        return _Lane(self._pool.get_connection())

    def _drop(self, lane: _Lane) -> None:
        lane.connection.disconnect()
        self._pool.release(lane.connection)

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
