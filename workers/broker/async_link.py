"""The seam between the asynchronous processes and redis-py: the same raw round trip as `link`, awaited."""

from collections.abc import Sequence
from typing import Final, cast

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, ResponseError

from workers.broker.link import Command, Reply, checked, packed, tcp_options
from workers.broker.scripts import Script

# Blocking reads end after a second; a server silent for ten is gone.
SOCKET_TIMEOUT_S: Final = 10
CONNECT_TIMEOUT_S: Final = 2


def open_redis(url: str) -> Redis:
    """Return a client whose replies are raw bytes; close it with `async with`."""
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  redis-py leaves options untyped
        url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=CONNECT_TIMEOUT_S, **tcp_options(url)
    )


class AsyncLink:
    """Sends commands over a client's pool of connections. Cheap to make: it holds nothing of its own."""

    def __init__(self, redis: Redis) -> None:
        self._pool = redis.connection_pool

    async def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Send all commands at once and return their replies in order; an error reply is returned, not raised.

        Raises redis.ConnectionError or redis.TimeoutError: then any of the commands may have been executed.
        """
        connection = await self._pool.get_connection()
        try:
            await connection.send_packed_command([packed(commands)])
            return [await _read(connection) for _ in commands]
        except BaseException:
            # Replies may be half read: this socket cannot be used again. Without waiting, for we may be cancelled.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)

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


async def _read(connection: AbstractConnection) -> Reply:
    try:
        return cast("Reply", await connection.read_response(disable_decoding=True))
    except ResponseError as error:
        return error
