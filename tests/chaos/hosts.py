"""The platform on several hosts: two apis, three workers, two ledgers, two schedulers, each with a folder of its own.

A host is a network namespace where those are permitted (`network.py`); otherwise all share this machine's network, and
everything else is the same.
"""

import asyncio
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import msgspec

from local.ports import LOOPBACK
from local.postgres import Postgres
from local.redis import Redis
from migrations.runner import migrate
from operate.processes import API, COURIER, LEDGER, SCHEDULER, WORKER, WORKER_LARGE, ProcessPlan
from operate.supervisor import Child
from tests.chaos import guests
from tests.chaos.arena import REDIS_SETTINGS, Arena
from tests.domain import fake_clock
from tests.stack import API_2, Stack, running

COPIES = {API: 2, SCHEDULER: 2, WORKER: 3, WORKER_LARGE: 1, LEDGER: 2, COURIER: 1}
NAMES = tuple(kind if number == 1 else f"{kind}-{number}" for kind in COPIES for number in range(1, COPIES[kind] + 1))
POSTGRES, REDIS, HTTP = "postgres", "redis", "http"
TESTER = "tester"
HOSTS = (TESTER, POSTGRES, REDIS, *NAMES)
ACCESS = "local all all scram-sha-256\nhost all all 127.0.0.0/8 scram-sha-256\n"


class Site(Protocol):
    """Where hosts are."""

    def inside(self, host: str) -> AbstractContextManager[None]:
        """Have what is started in this thread be on the host."""
        ...

    def address(self, host: str, network: str) -> str:
        """Return where others find it."""
        ...


class OneMachine:
    """All hosts are this one."""

    def inside(self, _host: str) -> AbstractContextManager[None]:
        return nullcontext()

    def address(self, _host: str, _network: str) -> str:
        return LOOPBACK


class PostgresOn(Postgres):
    """A Postgres on a host, for others too."""

    def __init__(self, folder: Path, site: Site, settings: Mapping[str, str] | None = None) -> None:
        self._site = site
        self._address = site.address(POSTGRES, POSTGRES)
        folder.mkdir(mode=0o700, parents=True)
        access = folder / "access.conf"
        access.write_text(ACCESS, encoding="ascii")
        own = {"listen_addresses": ",".join({LOOPBACK, self._address}), "hba_file": str(access)}
        super().__init__(folder, settings={**own, **(settings or {})})

    def start(self) -> None:
        with self._site.inside(POSTGRES):
            super().start()

    def database_url(self, database: str) -> str:
        return _with_host(super().database_url(database), self._address)


class RedisOn(Redis):
    """A Redis on a host, for others too."""

    def __init__(self, folder: Path, site: Site, settings: Mapping[str, str] | None = None) -> None:
        self._site = site
        self._address = site.address(REDIS, REDIS)
        own = {"bind": " ".join({LOOPBACK, self._address}), **REDIS_SETTINGS}
        super().__init__(folder, appendonly=True, settings={**own, **(settings or {})})

    def start(self) -> None:
        with self._site.inside(REDIS):
            super().start()

    @property
    def url(self) -> str:
        return _with_host(super().url, self._address)


class ChildOn(Child):
    """A process on a host of its own."""

    def __init__(self, plan: ProcessPlan, log_folder: Path, site: Site) -> None:
        super().__init__(plan, log_folder)
        self._site = site

    def start(self) -> None:
        with self._site.inside(self.name):
            super().start()


class SpreadStack(Stack):
    """COPIES of each process, each on its host and with its own folders."""

    def __init__(self, folder: Path, site: Site, database_url: str, redis_url: str, environ: Mapping[str, str]) -> None:
        self.site = site
        self._folder = folder
        super().__init__(folder, database_url, redis_url, environ)

    def spread(self, planned: Sequence[ProcessPlan]) -> list[ProcessPlan]:
        of_kind = {plan.name: plan for plan in planned}
        apis = [API, API_2]
        spread: list[ProcessPlan] = []
        for kind, copies in COPIES.items():
            for number in range(copies):
                name = kind if number == 0 else f"{kind}-{number + 1}"
                environment = {**of_kind[kind].environment, **self._own(name, apis[number % len(apis)])}
                if kind == API:
                    environment |= {"PORT": str(self.ports[name]), "PUBLIC_URL": self.address(name)}
                spread.append(msgspec.structs.replace(of_kind[kind], name=name, environment=environment))
        return spread

    def child(self, plan: ProcessPlan, folder: Path) -> Child:
        return ChildOn(plan, folder, self.site)

    def address(self, name: str) -> str:
        return f"http://{self.site.address(name, HTTP)}:{self.ports[name]}"

    def _own(self, name: str, api: str) -> dict[str, str]:
        """Return what a process on this host is told: its folders, and whom it asks for modules."""
        own = self._folder / f"host-{name}"
        (own / "modules").mkdir(parents=True)
        return {
            "ARTIFACT_CACHE_DIR": str(own / "artifacts"),
            "ARTIFACT_URL": self.address(api),
            "WASM_MODULE_PATH": str(own / "modules"),
        }


@contextmanager
def run_hosts(folder: Path, site: Site, *, pressure: float) -> Generator[Arena]:
    """Run everything until the context ends; this thread and those it starts are on the host TESTER meanwhile."""
    with site.inside(TESTER):
        postgres = PostgresOn(folder / "postgres", site)
        redis = RedisOn(folder / "redis", site)
        try:
            postgres.start()
            asyncio.run(migrate(postgres.url))
            asyncio.run(fake_clock.install(postgres.url))
            redis.start()
            with running(SpreadStack(folder, site, postgres.url, redis.url, os.environ)) as stack:
                guests.publish(stack)
                arena = Arena(stack, postgres, redis, folder, pressure=pressure)
                arena.start_sampling()
                try:
                    yield arena
                finally:
                    arena.stop_sampling()
        finally:
            redis.kill()
            postgres.kill()


def _with_host(url: str, host: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f"@{LOOPBACK}:", f"@{host}:")))
