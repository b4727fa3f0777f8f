"""The platform that is to be broken: all its processes, a Redis whose file can be cut, accounts with all limits."""

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from redis.exceptions import RedisError

from local.postgres import Postgres
from local.redis import Redis
from operate.processes import WORKER, ProcessPlan
from tests.api.platform import Account
from tests.chaos import guests
from tests.chaos.final_state import FinalState, RememberedRow, read_final_state, read_remembered
from tests.chaos.history import ClockMove, Fault, History, WireSample, now
from tests.domain import fake_clock
from tests.stack import Stack, run_stack
from workers import keys

POOLS = ("default", "large")
SAMPLE_SECONDS = 0.5
# A rewritten file begins with a block that cannot be cut; ours stays a list of commands.
REDIS_SETTINGS = {"auto-aof-rewrite-percentage": "0"}
RPM_LIMITED = 240


class Arena:
    """Breaks things on demand and writes down when."""

    def __init__(self, stack: Stack, postgres: Postgres | None, redis: Redis, folder: Path, *, pressure: float) -> None:
        """`pressure` scales the limits: how many seconds of load they should last for."""
        self.stack = stack
        self.postgres = postgres
        self.redis = redis
        self.folder = folder
        self.history = History()
        self.offset_seconds = 0.0
        self.plans: dict[str, ProcessPlan] = {}
        """How processes run when they are not made to crash."""
        self.accounts = _accounts(stack, pressure)
        self._remembered: list[RememberedRow] = []
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="sampler")

    @contextmanager
    def fault(self, name: str, detail: str = "") -> Generator[None]:
        """Write down that something is being done to the platform."""
        began_at = now()
        try:
            yield
        finally:
            self.history.add(Fault(name=name, detail=detail, began_at=began_at, ended_at=now()))

    def restart(self, name: str) -> None:
        """Start a process again, without waiting for it."""
        if not self.stack.children[name].running:
            self.stack.children[name].start()

    def supervise(self) -> None:
        """Start again what ended though nobody ended it, as a supervisor would, and write it down."""
        for name in self.stack.names:
            child = self.stack.children[name]
            if not child.running:
                with self.fault(f"{name} ended", f"with exit code {child.exit_code}"):
                    child.start()

    def sandboxes(self) -> list[int]:
        """Return the process ids of the executors of the default pool."""
        return [child for process_id in self.process_ids(WORKER) for child in children_of(process_id)]

    def process_ids(self, name: str) -> list[int]:
        """Return the id of a process, if it runs."""
        with suppress(FileNotFoundError, ProcessLookupError):
            process_id = self.stack.children[name].process_id
            return [] if process_id is None else [process_id]
        return []

    def freeze(self, process_ids: Sequence[int], seconds: float) -> None:
        """Stop the processes where they are, and let them go on after a while."""
        for process_id in process_ids:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGSTOP)
        time.sleep(seconds)
        for process_id in process_ids:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGCONT)

    def start_redis(self) -> None:
        self.redis.start()
        self.stack.redis_users.make()

    def start_postgres(self) -> None:
        assert self.postgres is not None
        self.postgres.start()
        self.stack.reconnect()

    def append_only_file(self) -> Path:
        return self.folder / "redis" / "appendonly.aof"

    def move_clock(self, offset_seconds: float) -> None:
        """Move Postgres' clock; nobody may be asking anything meanwhile."""
        self._remembered += read_remembered(self.stack.database_url)
        began_at = now()
        asyncio.run(fake_clock.move_to(self.stack.database_url, timedelta(seconds=offset_seconds)))
        self.offset_seconds = offset_seconds
        self.history.add(ClockMove(began_at=began_at, at=now(), offset_seconds=offset_seconds))

    def heal(self) -> float:
        """Make everything good and return when that was done."""
        for server, start in ((self.postgres, self.start_postgres), (self.redis, self.start_redis)):
            if server is not None and not server.running:
                start()
        self.stack.reconnect()
        for name in self.stack.names:
            self.restart(name)
        healed_at = now()
        self.stack.wait_ready()
        return healed_at

    def wait_for_the_end(self, seconds: float) -> float | None:
        """Return when the last cast had ended, None when some had not within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.stack.open_casts():
            if time.monotonic() > deadline:
                return None
            time.sleep(0.1)
        return now()

    def final_state(self) -> FinalState:
        return read_final_state(self.stack.database_url, self._remembered)

    def start_sampling(self) -> None:
        self._sampler.start()

    def stop_sampling(self) -> None:
        self._stop.set()
        if self._sampler.is_alive():
            self._sampler.join()

    def _sample(self) -> None:
        with self.stack.redis() as redis:
            while not self._stop.wait(SAMPLE_SECONDS):
                began_at = now()
                with suppress(RedisError, OSError):
                    entries = sum(redis.xlen(keys.jobs(pool)) for pool in POOLS)
                    self.history.add(WireSample(began_at=began_at, ended_at=now(), entries=entries))


def children_of(process_id: int) -> list[int]:
    """Return the ids of a process's children, those of all its threads."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process_id}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(found)


def _accounts(stack: Stack, pressure: float) -> list[Account]:
    """Make accounts with every kind of limit; two keys of one account share its budgets."""
    rows = stack.rows
    plain, monthly, daily, of_spell = (rows.account() for _ in range(4))
    second_key = rows.key(daily.id, daily.handle)
    credited = rows.account(billing="on", plan="pro")
    free = rows.account(billing="on", plan="free")
    limited = rows.account(rpm=RPM_LIMITED)
    unit = max(40_000, int(pressure * 2_500))
    _budget(stack, monthly, "account", monthly.id, "monthly", 2 * unit)
    _budget(stack, daily, "account", daily.id, "daily", unit)
    _budget(stack, daily, "key", second_key.key_id, "monthly", unit)
    ((empty_id,),) = rows.execute("SELECT id FROM spells WHERE name = 'empty'")
    _budget(stack, of_spell, "spell", empty_id, "daily", unit // 4)
    _budget(stack, of_spell, "account", of_spell.id, "monthly", 3 * unit)
    for priority in (1, 2):
        rows.execute(
            "INSERT INTO credit_grants (id, account_id, priority, granted_micros, balance_micros)"
            " VALUES (%(id)s, %(account)s, %(priority)s, %(micros)s, %(micros)s)",
            {"id": uuid4(), "account": credited.id, "priority": priority, "micros": unit},
        )
    rows.execute(
        "INSERT INTO ledger_transfers (id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
        " VALUES (%(id)s, %(id)s, 'credit_grant', 'promotion:platform', 'credits:' || %(account)s::text, %(micros)s,"
        " %(account)s, date_trunc('month', now())::date)",
        {"id": uuid4(), "account": credited.id, "micros": 2 * unit},
    )
    rows.execute(
        "INSERT INTO credit_transactions (account_id, number, kind, amount_micros, balance_before_micros,"
        " balance_after_micros, created_at) VALUES (%(account)s, 1, 'grant', %(micros)s, 0, %(micros)s, now())",
        {"account": credited.id, "micros": 2 * unit},
    )
    rows.execute("UPDATE accounts SET credits_ever = true WHERE id = %(id)s", {"id": credited.id})
    return [plain, plain, monthly, daily, second_key, of_spell, credited, free, limited]


def _budget(stack: Stack, account: Account, scope: str, scope_id: UUID, period: str, limit_micros: int) -> None:
    stack.rows.execute(
        "INSERT INTO budgets (id, account_id, scope, scope_id, period, hard_limit_micros)"
        " VALUES (%(id)s, %(account)s, %(scope)s, %(scope_id)s, %(period)s, %(limit)s)",
        {
            "id": uuid4(),
            "account": account.id,
            "scope": scope,
            "scope_id": scope_id,
            "period": period,
            "limit": limit_micros,
        },
    )


@contextmanager
def run_arena(
    folder: Path,
    database_url: str,
    postgres: Postgres | None,
    *,
    pressure: float,
    redis_settings: Mapping[str, str] | None = None,
) -> Generator[Arena]:
    """Run everything until the context ends; `postgres` is the server of `database_url` when it is ours to kill."""
    asyncio.run(fake_clock.install(database_url))
    redis = Redis(folder / "redis", appendonly=True, settings={**REDIS_SETTINGS, **(redis_settings or {})})
    redis.start()
    try:
        with run_stack(folder, database_url, redis.url, os.environ) as stack:
            guests.publish(stack)
            arena = Arena(stack, postgres, redis, folder, pressure=pressure)
            arena.start_sampling()
            try:
                yield arena
            finally:
                arena.stop_sampling()
                _revive_postgres(postgres)
    finally:
        if redis.running:
            redis.kill()
        shutil.rmtree(folder / "redis", ignore_errors=True)


def _revive_postgres(postgres: Postgres | None) -> None:
    if postgres is not None and not postgres.running:
        postgres.start()


def chosen_pause(rng: Random) -> float:
    """Return how long something stays broken: mostly short, sometimes longer than a lease."""
    return rng.choice((0.0, 0.1, 0.5, 1.5, 3.0))
