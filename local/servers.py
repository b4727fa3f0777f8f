"""Postgres and Redis for one data folder: embedded, or the ones whose URLs are given."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.folder import FolderLock, make_private_folder
from local.postgres import Postgres
from local.redis import Redis


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where Postgres and Redis are. `postgres` and `redis` are None where a given URL is used instead."""

    database_url: str
    redis_url: str
    postgres: Postgres | None
    redis: Redis | None

    @property
    def nearest_database_url(self) -> str:
        """The same database for processes of this machine: by the socket of an embedded server."""
        return self.database_url if self.postgres is None else self.postgres.nearest_url


@contextmanager
def run_servers(
    data_folder: Path,
    *,
    database_url: str | None = None,
    redis_url: str | None = None,
    appendonly: bool = False,
    postgres_settings: Mapping[str, str] | None = None,
) -> Generator[Servers]:
    """Run what is not given, for as long as the context is open, and stop it at the end.

    The folder is this process's alone meanwhile. `postgres_settings` are laid over those of `local.postgres`.
    Raises LocalServerError, whose message is one line for the user.
    """
    with ExitStack() as stack:
        make_private_folder(data_folder)
        stack.enter_context(FolderLock(data_folder))
        postgres = redis = None
        if database_url is None:
            postgres = Postgres(data_folder / "postgres", settings=postgres_settings)
            stack.callback(postgres.stop)
            postgres.start()
            database_url = postgres.url
        if redis_url is None:
            redis = Redis(data_folder / "redis", appendonly=appendonly)
            stack.callback(redis.stop)
            redis.start()
            redis_url = redis.url
        yield Servers(database_url=database_url, redis_url=redis_url, postgres=postgres, redis=redis)
