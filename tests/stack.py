"""The platform's own processes on the run's servers, to be used, killed and started again by tests of the whole."""

import asyncio
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
from redis import Redis

from local.ports import new_port
from local.servers import Servers
from operate.dev_secrets import DEV_KEY, DevSecrets
from operate.processes import (
    API,
    LEDGER,
    SCHEDULER,
    WORKER,
    WORKER_LARGE,
    ProcessPlan,
    full_environment,
    plans,
)
from operate.redis_users import RedisUsers
from operate.stack import prepare, wait_ready
from operate.supervisor import Child, Supervisor
from tests.api.platform import Account, Rows
from tests.domain.invariants import broken
from tests.servers import TestDatabases, flush_redis, revive
from tests.system.guests import GUESTS

API_2 = "api-2"
AnyStack = TypeVar("AnyStack", bound="Stack")
PATIENCE_SECONDS = 120.0
EVERYBODY = (API, API_2, SCHEDULER, WORKER, WORKER_LARGE, LEDGER)
# Nothing of the developer's own settings may reach the processes.
CLEAN = {
    name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "PYTHONPATH", "SPELL_JAIL"}
}
SETTINGS = {
    "LOG_LEVEL": "warning",
    # Load is what these tests make; the default limit of accounts without a budget is tested elsewhere.
    "METERED_LIMIT_DEFAULT_MICROS": str(10**12),
}


class Stack:
    """Two apis, a scheduler, workers and a ledger, on a database of their own. Times are seconds."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, environ: Mapping[str, str]) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.secrets = DevSecrets(folder)
        self.ports = {API: new_port(folder / "port"), API_2: new_port(folder / "port-2")}
        self.environment = full_environment(
            {**environ, **SETTINGS},
            kept=self.secrets.settings,
            database_url=database_url,
            redis_url=redis_url,
            port=self.ports[API],
            artifact_folder=folder / "artifacts",
        )
        asyncio.run(prepare(self.environment, self.secrets, lambda _line: None))
        self.redis_users = RedisUsers(redis_url)
        self.redis_users.make()
        planned = self.spread(plans(self.environment, self.redis_users.urls()))
        self.children = {plan.name: self.child(plan, folder) for plan in planned}
        self.rows = Rows(database_url)
        self.owner_key = self.secrets.api_key(DEV_KEY)

    def spread(self, planned: Sequence[ProcessPlan]) -> list[ProcessPlan]:
        """Return all that is to run: what is planned, and a second api."""
        (first,) = (plan for plan in planned if plan.name == API)
        second = {**first.environment, "PORT": str(self.ports[API_2])}
        return [*planned, msgspec.structs.replace(first, name=API_2, environment=second)]

    def child(self, plan: ProcessPlan, folder: Path) -> Child:
        return Child(plan, folder)

    def address(self, name: str) -> str:
        """Return the URL of an api."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def names(self) -> tuple[str, ...]:
        """All that runs, in the order in which it is started."""
        return tuple(self.children)

    @property
    def url(self) -> str:
        return self.address(API)

    @property
    def urls(self) -> tuple[str, str]:
        return self.url, self.address(API_2)

    @property
    def admin_headers(self) -> dict[str, str]:
        return {"X-Admin-Secret": self.environment["ADMIN_SECRET"]}

    @property
    def token_key(self) -> bytes:
        return bytes.fromhex(self.environment["CAST_TOKEN_KEY"])

    def start(self, *names: str) -> None:
        """Start what does not run, and return when all that runs is ready."""
        for name in names or self.names:
            if not self.children[name].running:
                self.children[name].start()
        self.wait_ready()

    def wait_ready(self) -> None:
        running = [child for child in self.children.values() if child.running]
        both = (WORKER, WORKER_LARGE)
        workers = all(self.children[name].running for name in both)
        for name, url in zip((API, API_2), self.urls, strict=True):
            if not self.children[name].running:
                continue
            if workers:
                wait_ready(url, Supervisor(running, report=lambda _line: None))
            else:
                until(lambda url=url: answers(url), "the api is ready")

    def stop(self, *names: str) -> None:
        """SIGTERM, and wait for the end."""
        for name in names:
            self.children[name].ask_to_stop()
        for name in names:
            self.children[name].wait()

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.children[name].kill()

    def reconnect(self) -> None:
        """Look at the database through a new connection and make the Redis users, after their servers were killed."""
        self.redis_users.make()
        self.rows.close()
        self.rows = Rows(self.database_url)

    def account(self, *, rpm: int | None = 1_000_000) -> Account:
        """Return a new account that is never billed, with a key."""
        return self.rows.account(rpm=rpm)

    def client(self, account: Account, *, api: int = 0) -> httpx.Client:
        return httpx.Client(base_url=self.urls[api], headers=account.headers, timeout=PATIENCE_SECONDS, trust_env=False)

    def redis(self) -> Redis:
        return Redis.from_url(self.redis_url)

    def open_casts(self) -> int:
        return self.rows.execute("SELECT count(*) FROM casts WHERE status IN ('queued', 'running')")[0][0]

    def settle_all(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Return when no cast is open."""
        until(lambda: self.open_casts() == 0, "every cast has ended", seconds)

    def broken_books(self) -> dict[str, list[tuple]]:
        """Return what does not add up in the database; from a test that is no coroutine."""
        return asyncio.run(broken(self.database_url))

    def publish_guests(self) -> None:
        headers = {"Authorization": f"Bearer {self.owner_key}", "Content-Type": "application/wasm"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False) as client:
            for name, make in GUESTS.items():
                answer = client.put(f"/v1/spells/dev/{name}/versions/1.0.0", content=make())
                assert answer.status_code == 201, answer.text

    def close(self) -> None:
        for child in self.children.values():
            child.kill()
        self.rows.close()


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s it is not so that {what}"
        time.sleep(0.02)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def run_stack(folder: Path, database_url: str, redis_url: str, environ: Mapping[str, str]) -> Generator[Stack]:
    """Run everything with the guests published, and kill it at the end."""
    with running(Stack(folder, database_url, redis_url, environ)) as stack:
        yield stack


@contextmanager
def run_fresh_stack(
    test_databases: TestDatabases, template_database_url: str, servers: Servers, folder: Path
) -> Generator[Stack]:
    """Run everything on a database of its own and an emptied Redis, without the developer's settings."""
    revive(servers)
    flush_redis(servers.redis_url)
    database_url = test_databases.create(template=template_database_url)
    try:
        with run_stack(folder, database_url, servers.redis_url, CLEAN) as stack:
            yield stack
    finally:
        revive(servers)
        test_databases.drop(database_url)


@contextmanager
def running(stack: AnyStack) -> Generator[AnyStack]:
    """Run this stack."""
    try:
        stack.start()
        stack.publish_guests()
        yield stack
    finally:
        stack.close()
