"""The seam between the asynchronous processes and redis-py: the same raw round trip as `link`, awaited.

redis-py opens the connections (addresses, TLS, users, versions of the protocol) and counts them. What is sent and read
afterwards goes past it: its own way of taking a connection, reading one reply after another and giving it back costs a
process several times what Redis needs for the answer.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import hiredis
import redis
from redis.asyncio import Redis
from redis.exceptions import InvalidResponse, NoScriptError

from workers.broker.link import Command, Reply, checked, packed, tcp_options
from workers.broker.scripts import Script

# Blocking reads end after a second; a server silent for ten is gone.
SOCKET_TIMEOUT_S: Final = 10
CONNECT_TIMEOUT_S: Final = 2
READ_BYTES: Final = 65_536
_MORE: Final = object()
_LOST: Final = "The connection to Redis broke."


def open_redis(url: str) -> Redis:
    """Return a client whose replies are raw bytes; close it with `async with`."""
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  redis-py leaves options untyped
        url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=CONNECT_TIMEOUT_S, **tcp_options(url)
    )


class _Lane:
    """A connection that redis-py has opened, for one round trip at a time."""

    def __init__(self, connection: Any) -> None:  # redis-py's connection keeps what is needed here to itself
        self._connection = connection
        self._reader: asyncio.StreamReader = connection._reader  # noqa: SLF001
        self._writer: asyncio.StreamWriter = connection._writer  # noqa: SLF001
        self._timeout_s: float | None = connection.socket_timeout
        parse_error: Callable[[str], Exception] = connection._parser.parse_error  # noqa: SLF001
        self._replies = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_MORE)

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it."""
        return self._connection.is_connected and not self._reader.at_eof() and not self._writer.is_closing()

    async def run(self, sent: bytes, count: int) -> list[Reply]:
        """Send commands and return their replies. Raises redis.ConnectionError or redis.TimeoutError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                self._writer.write(sent)
                await self._writer.drain()
                return [await self._reply() for _ in range(count)]
        except TimeoutError as error:
            text = f"Redis did not answer within {self._timeout_s} s."
            raise redis.TimeoutError(text) from error
        except OSError as error:
            raise redis.ConnectionError(_LOST) from error

    async def _reply(self) -> Reply:
        while True:
            reply = self._replies.gets()
            if reply is _MORE:
                data = await self._reader.read(READ_BYTES)
                if not data:
                    raise redis.ConnectionError(_LOST)
                self._replies.feed(data)
            elif isinstance(reply, redis.ConnectionError):  # it is loading, or does not know us any more
                raise reply
            elif not isinstance(reply, hiredis.PushNotification):
                return cast("Reply", reply)

    async def drop(self, pool: Any) -> None:
        """Close it without waiting, for we may be cancelled: replies may be half read."""
        await self._connection.disconnect(nowait=True)
        await pool.release(self._connection)


_free_lanes: Final[WeakKeyDictionary[Any, list[_Lane]]] = WeakKeyDictionary()


class AsyncLink:
    """Sends commands over a client's connections. Cheap to make: it holds nothing of its own.

    The connections stay in use for redis-py, and are closed with the client.
    """

    def __init__(self, client: Redis) -> None:
        self._pool: Any = client.connection_pool
        self._free = _free_lanes.setdefault(self._pool, [])

    async def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Send all commands at once and return their replies in order; an error reply is returned, not raised.

        Raises redis.ConnectionError or redis.TimeoutError: then any of the commands may have been executed.
        """
        lane = await self._lane()
        try:
            answers = await lane.run(packed(commands), len(commands))
        except BaseException:
            await lane.drop(self._pool)
            raise
        self._free.append(lane)
        return answers

    async def call(self, *command: bytes | str | int) -> Reply:
        """Send one command; an error reply is raised as ResponseError."""
        return checked((await self.run([command]))[0])

    async def scripts(self, script: Script, runs: Sequence[Command]) -> list[Reply]:
        """Run a script once for each of `runs` (key count, keys, arguments) in one round trip, loading it if needed.

        Where the server did not know it, only the runs that were refused are sent again: another connection may load
        the script while ours are under way, and then the later of them have run.
        """
        commands: list[Command] = [("EVALSHA", script.sha, *run) for run in runs]
        answers = await self.run(commands)
        refused = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if refused:
            again = await self.run([("SCRIPT", "LOAD", script.text), *(commands[at] for at in refused)])
            for at, answer in zip(refused, again[1:], strict=True):
                answers[at] = answer
        return [checked(answer) for answer in answers]

    async def _lane(self) -> _Lane:
        while self._free:
            lane = self._free.pop()
            if lane.is_open:
                return lane
            await lane.drop(self._pool)
        return _Lane(await self._pool.get_connection())
