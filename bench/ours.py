"""The whole platform for one round, on a fresh data folder, with customers that have keys and hard budgets."""

import asyncio
import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
from redis import Redis as Client

from api.auth import VERIFY_WAITING_MAX, hash_key
from bench.cores import starting_on
from bench.generator import Load, http_request, run_load
from domain.flow.create_budget import NewBudget, create_budget
from domain.flow.create_key import NewKey, create_key
from domain.flow.create_user import create_user
from domain.model.api_key import ENTROPY_BYTES, mint
from domain.model.audit import OPERATOR
from domain.model.key_rules import RATE_LIMIT_RPM_MAX, SCOPES_DEFAULT, KeyTerms
from domain.model.messages import Pool
from domain.model.periods import Period
from domain.store.connection import Connection, Role, open_pool, transaction
from local.ports import new_port
from operate.stack import Platform, run_platform
from operate.supervisor import Supervisor
from workers import keys

ROOT: Final = Path(__file__).resolve().parent.parent
# Round after round starts on an empty database, on the same disk as the checkout.
WORK_FOLDER: Final = ROOT / ".build" / "bench"
SPELL: Final = "hello"
# Never reached, but looked at and counted for every cast.
HARD_LIMIT_MICROS: Final = 10**12
# The first request of a key is verified with Argon2; the api lets so many wait, and the rest of a stampede gets 503.
KEYS_WARMED_AT_ONCE: Final = VERIFY_WAITING_MAX // 2
WARM_REQUESTS_PER_KEY: Final = 2
SETTLED_SECONDS_MAX: Final = 120.0
ALIVE_SECONDS_MAX: Final = 30.0
# The api sends what it has accepted within a tenth of a second.
WIRE_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.02


class BenchError(Exception):
    """What was measured is not what should have been: the figures of this run mean nothing."""


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """An account and its key."""

    account_id: UUID
    key_id: UUID
    key: str


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What Postgres says about the casts of a round."""

    casts: int
    succeeded: int
    usage_events: int
    held_micros: int
    """In the windows of all budgets."""
    spent_micros: int
    cost_micros: int
    """Of the casts themselves."""

    @property
    def is_sound(self) -> bool:
        """Whether every cast succeeded, has its usage event, and is in the budgets with what it cost, held no more."""
        return (
            self.casts == self.succeeded == self.usage_events
            and self.held_micros == 0
            and self.spent_micros == self.cost_micros
        )


class Ours:
    """A running platform and the requests of its customers."""

    def __init__(
        self,
        platform: Platform,
        supervisor: Supervisor,
        customers: Sequence[Customer],
        requests: list[bytes],
        port: int,
    ) -> None:
        self.platform: Final = platform
        self.customers: Final = customers
        self.supervisor: Final = supervisor
        self.requests: Final = requests
        self.port: Final = port
        self._database: Final = psycopg.connect(platform.database_url, autocommit=True)

    def close(self) -> None:
        self._database.close()

    def keep_only(self, name: str, core: int) -> None:
        """Stop every process of the platform but `name`, which starts again on `core` alone."""
        for child in self.supervisor.children:
            child.ask_to_stop()
        for child in self.supervisor.children:
            child.wait()
        kept = next(child for child in self.supervisor.children if child.name == name)
        with starting_on([core]):
            kept.start()
        wait_alive(self.platform.url)

    def warm(self, cores: Sequence[int]) -> int:
        """Have every key verified and every code path taken; return how many casts that made."""
        made = 0
        for first in range(0, len(self.requests), KEYS_WARMED_AT_ONCE):
            some = self.requests[first : first + KEYS_WARMED_AT_ONCE]
            count = WARM_REQUESTS_PER_KEY * len(some)
            load = Load(port=self.port, requests=some, connections=len(some), status=202, count=count)
            made += run_load(load, cores).answers
        return made

    def wait_settled(self) -> float:
        """Return when the last cast was final, in monotonic seconds and up to one poll late."""
        give_up_at = time.monotonic() + SETTLED_SECONDS_MAX
        while self._number("SELECT coalesce(sum(open_casts), 0) FROM accounts"):
            if time.monotonic() > give_up_at:
                message = f"casts are still open after {SETTLED_SECONDS_MAX:.0f} s; the logs are gone with the round"
                raise BenchError(message)
            time.sleep(_POLL_SECONDS)
        return time.monotonic()

    def tally(self) -> Tally:
        """Count everything in Postgres."""
        return Tally(
            casts=self._number("SELECT count(*) FROM casts"),
            succeeded=self._number("SELECT count(*) FROM casts WHERE status = 'succeeded'"),
            usage_events=self._number("SELECT count(*) FROM usage_events"),
            held_micros=self._number("SELECT coalesce(sum(held_micros), 0) FROM budget_windows"),
            spent_micros=self._number("SELECT coalesce(sum(spent_micros), 0) FROM budget_windows"),
            cost_micros=self._number("SELECT coalesce(sum(cost_micros), 0) FROM casts"),
        )

    def wait_on_wire(self, expected: int) -> int:
        """Return how many jobs are on the wire, once there are `expected` or no more come.

        The api puts them there after it has answered.
        """
        length = -1
        with Client.from_url(self.platform.redis_url) as client:  # pyright: ignore[reportUnknownMemberType] its **kwargs are untyped
            while (found := client.xlen(keys.jobs(Pool.DEFAULT))) != length and found < expected:
                length = found
                time.sleep(WIRE_SECONDS)
        return found

    def _number(self, query: str) -> int:
        row = self._database.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def running_platform(
    cores: Sequence[int], *, accounts: int, path: str = "/v1/casts", headers: Sequence[tuple[str, str]] = ()
) -> Generator[Ours]:
    """Run the platform on `cores` for as long as the context is open; nothing of it is left afterwards.

    Its customers' requests go to `path` with these headers beside their key.
    """
    WORK_FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=WORK_FOLDER) as folder, starting_on(cores):
        data_folder = Path(folder) / "data"
        port = new_port(Path(folder) / "port")
        environ = {**os.environ, "SPELL_JAIL": "required", "LOG_LEVEL": "info"}
        with run_platform(data_folder, port=port, environ=environ, report=_silent) as (platform, supervisor):
            _publish(platform)
            customers = asyncio.run(make_customers(platform.database_url, accounts))
            requests = [_request(path, customer.key, headers) for customer in customers]
            ours = Ours(platform, supervisor, customers, requests, port)
            try:
                yield ours
                if (ended := supervisor.ended()) is not None and ended.exit_code:
                    message = f"{ended.name} died during the round: {ended.last_words()}"
                    raise BenchError(message)
            finally:
                ours.close()


def _silent(_line: str) -> None:
    pass


def _publish(platform: Platform) -> None:
    module = (ROOT / "spells" / "built" / f"{SPELL}.wasm").read_bytes()
    headers = {"authorization": f"Bearer {platform.api_key}", "content-type": "application/wasm"}
    url = f"{platform.url}/v1/spells/dev/{SPELL}/versions/1.0.0"
    httpx.put(url, content=module, headers=headers, timeout=60, trust_env=False).raise_for_status()


def _request(path: str, key: str, headers: Sequence[tuple[str, str]]) -> bytes:
    body = b'{"spell":"dev/%s","input":"Ada"}' % SPELL.encode()
    return http_request("POST", path, body, [("authorization", f"Bearer {key}"), *headers])


async def make_customers(database_url: str, accounts: int) -> list[Customer]:
    """Make accounts, each with a key and a hard monthly budget."""
    async with open_pool(database_url, role=Role.ENGINE, size_max=1) as pool, transaction(pool) as connection:
        return [await _make_customer(connection, number) for number in range(accounts)]


async def _make_customer(connection: Connection, number: int) -> Customer:
    now = datetime.now(UTC)
    handle = f"customer-{number}"
    user = await create_user(
        connection,
        user_id=uuid4(),
        account_id=uuid4(),
        handle=handle,
        email=f"{handle}@localhost",
        plan="free",
        billing="off",
        now=now,
        actor=OPERATOR,
    )
    account_id = user.account.id
    minted = mint(os.urandom(ENTROPY_BYTES))
    new_key = _new_key(account_id, minted.prefix, minted.text)
    await create_key(connection, new_key, now=now, actor=OPERATOR)
    budget = NewBudget(
        id=uuid4(),
        account_id=account_id,
        scope="account",
        scope_id=account_id,
        period=Period.MONTHLY,
        soft_limit_micros=None,
        hard_limit_micros=HARD_LIMIT_MICROS,
    )
    await create_budget(connection, budget, actor=OPERATOR)
    return Customer(account_id=account_id, key_id=new_key.id, key=minted.text)


def _new_key(account_id: UUID, prefix: str, text: str) -> NewKey:
    terms = KeyTerms(scopes=SCOPES_DEFAULT, rate_limit_rpm=RATE_LIMIT_RPM_MAX, open_casts_max=None, expires_at=None)
    return NewKey(
        id=uuid4(),
        account_id=account_id,
        made_by=None,
        prefix=prefix,
        secret_hash=hash_key(text),
        name="bench",
        terms=terms,
    )


def wait_alive(url: str, *, status: int = httpx.codes.OK) -> None:
    """Return when the server at `url` answers /healthz with `status`. Raises BenchError."""
    give_up_at = time.monotonic() + ALIVE_SECONDS_MAX
    with httpx.Client(base_url=url, trust_env=False) as client:
        while True:
            try:
                if client.get("/healthz").status_code == status:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > give_up_at:
                message = f"{url} does not answer after {ALIVE_SECONDS_MAX:.0f} s"
                raise BenchError(message)
            time.sleep(_POLL_SECONDS)
