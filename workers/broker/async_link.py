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
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from workers.broker.link import Command, Reply, checked, packed, tcp_options
from workers.broker.scripts import Script

# Blocking reads end after a second; a server silent for ten is gone.
SOCKET_TIMEOUT_S: Final = 10
CONNECT_TIMEOUT_S: Final = 2
_MORE: Final = object()
_LOST: Final = "The connection to Redis broke."


def open_redis(url: str) -> Redis:
    """Return a client whose replies are raw bytes; close it with `async with`."""
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  redis-py leaves options untyped
        url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=CONNECT_TIMEOUT_S, **tcp_options(url)
    )


class _Lane(asyncio.Protocol):
    """A connection that redis-py has opened, for one round trip at a time.

    It takes the place of asyncio's streams: what comes is parsed where it arrives, without a task that reads it.
    """

    def __init__(self, connection: Any) -> None:  # redis-py's connection keeps what is needed here to itself
        self._connection = connection
        self._transport: Any = connection._writer.transport  # noqa: SLF001
        self._streams: Any = self._transport.get_protocol()
        """What redis-py asks whether the connection has ended."""
        self._timeout_s: float | None = connection.socket_timeout
        parse_error: Callable[[str], Exception] = connection._parser.parse_error  # noqa: SLF001
        self._replies = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_MORE)
        self._answers: list[Reply] = []
        self._wanted = 0
        self._answered: asyncio.Future[None] | None = None
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it."""
        return self._connection.is_connected and not self._transport.is_closing()

    async def run(self, sent: bytes, count: int, within_s: float | None) -> list[Reply]:
        """Send commands and return their replies. Raises redis.ConnectionError or redis.TimeoutError."""
        if not count:
            return []
        if not self.is_open:
            raise redis.ConnectionError(_LOST)
        loop = asyncio.get_running_loop()
        self._answers, self._wanted = [], count
        answered = self._answered = loop.create_future()
        wait_s = self._timeout_s if within_s is None else within_s
        timer = None if wait_s is None else loop.call_later(wait_s, self._give_up, wait_s)
        try:
            self._transport.write(sent)
            await answered
        finally:
            self._answered = None
            if timer is not None:
                timer.cancel()
        answers, self._answers = self._answers, []
        return answers

    def data_received(self, data: bytes) -> None:
        """Take what came, and wake who waits when it is all there."""
        self._replies.feed(data)
        try:
            while (reply := self._replies.gets()) is not _MORE:
                if isinstance(reply, redis.ConnectionError):  # it is loading, or does not know us any more
                    self._fail(reply)
                elif not isinstance(reply, hiredis.PushNotification):
                    self._answers.append(cast("Reply", reply))
        except InvalidResponse as error:
            self._fail(error)
        if self._answered is None:
            if self._answers:  # nobody asked: no answer that comes here can be told from another any more
                self._transport.close()
        elif len(self._answers) >= self._wanted and not self._answered.done():
            self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits here, and redis-py."""
        self._fail(redis.ConnectionError(_LOST))
        self._streams.connection_lost(exc)

    async def drop(self, pool: Any) -> None:
        """Close it without waiting, for we may be cancelled: replies may be half read."""
        await self._connection.disconnect(nowait=True)
        await pool.release(self._connection)

    def _give_up(self, waited_s: float) -> None:
        self._fail(redis.TimeoutError(f"Redis did not answer within {waited_s} s."))

    def _fail(self, error: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)


class _Subscription(asyncio.Protocol):
    """A connection that redis-py has opened, for what is published on one channel."""

    def __init__(self, connection: Any, take: Callable[[bytes], None]) -> None:
        self._transport: Any = connection._writer.transport  # noqa: SLF001
        self._streams: Any = self._transport.get_protocol()
        self._take = take
        parse_error: Callable[[str], Exception] = connection._parser.parse_error  # noqa: SLF001
        self._replies = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_MORE)
        self.ended: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        """Ends with why no more is heard."""
        self._transport.set_protocol(self)

    def subscribe(self, channel: str) -> None:
        self._transport.write(packed([("SUBSCRIBE", channel)]))

    def data_received(self, data: bytes) -> None:
        """Pass on what was published."""
        self._replies.feed(data)
        try:
            while (reply := self._replies.gets()) is not _MORE:
                if isinstance(reply, ResponseError | redis.ConnectionError):  # no permission, or it is loading
                    self._end(reply)
                elif isinstance(reply, list) and reply[0] == b"message":  # alike in both versions of the protocol
                    self._take(cast("bytes", reply[2]))
        except InvalidResponse as error:
            self._end(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who listens, and redis-py."""
        self._end(redis.ConnectionError(_LOST))
        self._streams.connection_lost(exc)

    def _end(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)


async def listen(client: Redis, channel: str, take: Callable[[bytes], None]) -> None:
    """Call `take` with each message of a channel, where it arrives, until the connection breaks. Raises RedisError.

    redis-py's own subscriber costs four times what is done with a message.
    """
    pool: Any = client.connection_pool
    connection: Any = await pool.get_connection()
    try:
        subscription = _Subscription(connection, take)
        subscription.subscribe(channel)
        await subscription.ended
    finally:
        await connection.disconnect(nowait=True)
        await pool.release(connection)


_free_lanes: Final[WeakKeyDictionary[Any, list[_Lane]]] = WeakKeyDictionary()


class AsyncLink:
    """Sends commands over a client's connections. Cheap to make: it holds nothing of its own.

    The connections stay in use for redis-py, and are closed with the client.
    """

    def __init__(self, client: Redis) -> None:
        self._pool: Any = client.connection_pool
        self._free = _free_lanes.setdefault(self._pool, [])

    async def run(self, commands: Sequence[Command], *, within_s: float | None = None) -> list[Reply]:
        """Send all commands at once and return their replies in order; an error reply is returned, not raised.

        `within_s` is how long the server may be silent, otherwise the client's own bound.
        Raises redis.ConnectionError or redis.TimeoutError: then any of the commands may have been executed.
        """
        lane = await self._free_lane() or await self._new_lane(within_s)
        try:
            answers = await lane.run(packed(commands), len(commands), within_s)
        except BaseException:
            await lane.drop(self._pool)
            raise
        self._free.append(lane)
        return answers

    async def call(self, *command: bytes | str | int) -> Reply:
        """Send one command; an error reply is raised as ResponseError."""
        return checked((await self.run([command]))[0])

    async def scripts(self, script: Script, runs: Sequence[Command], *, within_s: float | None = None) -> list[Reply]:
        """Run a script once for each of `runs` (key count, keys, arguments) in one round trip, loading it if needed.

        Where the server did not know it, only the runs that were refused are sent again: another connection may load
        the script while ours are under way, and then the later of them have run.
        """
        commands: list[Command] = [("EVALSHA", script.sha, *run) for run in runs]
        answers = await self.run(commands, within_s=within_s)
        refused = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if refused:
            loading: Command = ("SCRIPT", "LOAD", script.text)
            again = await self.run([loading, *(commands[at] for at in refused)], within_s=within_s)
            for at, answer in zip(refused, again[1:], strict=True):
                answers[at] = answer
        return [checked(answer) for answer in answers]

    async def _free_lane(self) -> _Lane | None:
        while self._free:
            lane = self._free.pop()
            if lane.is_open:
                return lane
            await lane.drop(self._pool)
        return None

    async def _new_lane(self, within_s: float | None) -> _Lane:
        try:
            async with asyncio.timeout(within_s):
                return _Lane(await self._pool.get_connection())
        except TimeoutError as error:
            text = f"Redis was not reached within {within_s} s."
            raise redis.TimeoutError(text) from error
