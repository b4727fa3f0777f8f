"""A Redis user of its own for each kind of process, on a Redis that is ours to configure."""

import secrets
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from redis import Redis

from local.redis import Redis as EmbeddedRedis
from operate.processes import API, LEDGER, SCHEDULER, WORKER, WORKER_LARGE
from workers.broker.acl import redis_acl

_PASSWORD_BYTES: Final = 32
_USER_OF: Final = {
    API: "api",
    SCHEDULER: "api",
    LEDGER: "ledger",
    WORKER: "worker-default",
    WORKER_LARGE: "worker-large",
}


class RedisUsers:
    """The users of `workers/redis.acl`, with passwords that nobody keeps: they live as long as the processes."""

    def __init__(self, redis_url: str) -> None:
        """`redis_url` is the default user's, who may do everything and stays as it is."""
        self._redis_url: Final = redis_url
        self._passwords: Final = {user: secrets.token_urlsafe(_PASSWORD_BYTES) for user in _USER_OF.values()}

    def make(self) -> None:
        """Make the users, or make them anew; a restarted server has forgotten them."""
        with Redis.from_url(self._redis_url) as client:  # pyright: ignore[reportUnknownMemberType] its **kwargs are untyped
            for line in redis_acl(self._passwords).splitlines():
                _, name, *rules = line.split()
                if name in self._passwords:
                    client.execute_command("ACL", "SETUSER", name, "reset", *rules)  # pyright: ignore[reportUnknownMemberType] replies are untyped

    def urls(self) -> dict[str, str]:
        """Return the URL for each process, by its name in Procfile."""
        return {process: self._url(user) for process, user in _USER_OF.items()}

    def _url(self, user: str) -> str:
        parts = urlsplit(self._redis_url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{user}:{self._passwords[user]}@{host}"))


class RedisWithUsers:
    """An embedded Redis that has its users again after each start."""

    def __init__(self, server: EmbeddedRedis, users: RedisUsers) -> None:
        self._server: Final = server
        self._users: Final = users

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._server.running

    def start(self) -> None:
        """Start the server and make the users; who connects in between is refused and tries again."""
        self._server.start()
        self._users.make()
