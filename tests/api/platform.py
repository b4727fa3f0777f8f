"""A whole api for tests: the real process on real servers, and rows that no route makes yet."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest

from api.auth import hash_key
from domain.model.api_key import ENTROPY_BYTES, mint
from domain.model.modes import Mode
from domain.model.session import ENTROPY_BYTES as SESSION_ENTROPY_BYTES
from domain.model.session import hash_of_token, mint_session

REPOSITORY = Path(__file__).parents[2]
ADMIN_SECRET = "0123456789abcdef0123456789abcdef"
LOG_PATIENCE_SECONDS = 120
# Only what hangs takes this long; an api imports for a second, on a machine that does nothing else.
PATIENCE_SECONDS = 120
DEAD_REDIS_URL = "redis://127.0.0.1:1/0"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    handle: str
    key_id: UUID
    prefix: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A person who is signed in."""

    id: UUID
    user_id: UUID
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    @property
    def cookie(self) -> dict[str, str]:
        """As a browser sends it that reached the platform by plain http."""
        return {"cookie": f"spell_session={self.token}"}


class Rows:
    """Writes and reads rows as the owner."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url
        self.connection = psycopg.connect(database_url, autocommit=True)
        self.connection.execute("SET ROLE spell_owner")

    def close(self) -> None:
        self.connection.close()

    def execute(self, query: Any, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    def price(self, *, per_cast_micros: int = 1_000, per_gfuel_micros: int = 1_500) -> None:
        self.execute(
            "INSERT INTO price_book VALUES (1, %(cast)s, %(fuel)s, 20, now()) ON CONFLICT DO NOTHING",
            {"cast": per_cast_micros, "fuel": per_gfuel_micros},
        )

    def account(
        self, *, billing: str = "off", rpm: int | None = 1_000_000, plan: str = "pro", subscribed: bool = False
    ) -> Account:
        account_id, handle = uuid4(), f"u{secrets.token_hex(6)}"
        self.execute(
            "INSERT INTO accounts (id, handle, plan, billing, subscription_active)"
            " VALUES (%(id)s, %(handle)s, %(plan)s, %(billing)s, %(subscribed)s)",
            {"id": account_id, "handle": handle, "plan": plan, "billing": billing, "subscribed": subscribed},
        )
        return self.key(account_id, handle, rpm=rpm)

    def key(self, account_id: UUID, handle: str, *, rpm: int | None = 1_000_000, mode: Mode = Mode.LIVE) -> Account:
        key_id, minted = uuid4(), mint(os.urandom(ENTROPY_BYTES), mode)
        self.execute(
            "INSERT INTO api_keys (id, account_id, prefix, secret_hash, name, rate_limit_rpm)"
            " VALUES (%(id)s, %(account)s, %(prefix)s, %(hash)s, 'test', %(rpm)s)",
            {
                "id": key_id,
                "account": account_id,
                "prefix": minted.prefix,
                "hash": hash_key(minted.text),
                "rpm": rpm,
            },
        )
        return Account(id=account_id, handle=handle, key_id=key_id, prefix=minted.prefix, key=minted.text)

    def session(self, account: Account, *, kind: str = "browser", role: str = "user") -> Signed:
        """Sign the user of an account in, and make the user when there is none."""
        now = datetime.now(UTC)
        opened = mint_session(secrets.token_bytes(SESSION_ENTROPY_BYTES), now)
        parameters = {
            "user": uuid4(),
            "account": account.id,
            "role": role,
            "email": f"{account.handle}@example.com",
            "id": opened.session_id,
            "hash": hash_of_token(opened.token),
            "kind": kind,
            "now": now,
            "expires_at": opened.expires_at,
        }
        [(user_id,)] = self.execute(
            "INSERT INTO users (id, account_id, email, role) VALUES (%(user)s, %(account)s, %(email)s, %(role)s)"
            " ON CONFLICT (account_id) DO UPDATE SET role = excluded.role RETURNING id",
            parameters,
        )
        self.execute(
            "INSERT INTO sessions"
            " (id, user_id, account_id, token_hash, kind, user_agent, created_at, last_used_at, expires_at)"
            " VALUES (%(id)s, %(user)s, %(account)s, %(hash)s, %(kind)s, 'Mozilla/5.0 (X11; Linux) Firefox/140.0',"
            " %(now)s, %(now)s, %(expires_at)s)",
            {**parameters, "user": user_id},
        )
        return Signed(id=opened.session_id, user_id=user_id, token=opened.token)

    def spell(self, owner: Account, name: str, *, manifest: Mapping[str, Any] | None = None) -> str:
        """Publish version 1.0.0 of a spell whose module nobody will run, and return its reference."""
        spell_id, digest = uuid4(), secrets.token_bytes(32)
        parameters = {
            "spell": spell_id,
            "version": uuid4(),
            "account": owner.id,
            "name": name,
            "digest": digest,
            "manifest": msgspec.json.encode(manifest or {}).decode(),
        }
        self.execute("INSERT INTO blobs (digest, size_bytes) VALUES (%(digest)s, 8)", parameters)
        self.execute("INSERT INTO spells (id, account_id, name) VALUES (%(spell)s, %(account)s, %(name)s)", parameters)
        self.execute(
            "INSERT INTO spell_versions (id, spell_id, account_id, version, digest, size_bytes, manifest)"
            " VALUES (%(version)s, %(spell)s, %(account)s, '1.0.0', %(digest)s, 8, %(manifest)s)",
            parameters,
        )
        return f"{owner.handle}/{name}"

    def budget(self, account: Account, hard_limit_micros: int) -> UUID:
        budget_id = uuid4()
        self.execute(
            "INSERT INTO budgets (id, account_id, scope, scope_id, period, hard_limit_micros)"
            " VALUES (%(id)s, %(account)s, 'account', %(account)s, 'monthly', %(limit)s)",
            {"id": budget_id, "account": account.id, "limit": hard_limit_micros},
        )
        return budget_id

    def finish(self, cast_id: str | UUID, *, output: bytes = b"42", log: bytes = b"") -> None:
        """End a cast as the gate would show it, without moving money: for tests of reading only."""
        self.execute(
            "UPDATE casts SET status = 'succeeded', output = %(output)s, log = %(log)s, fuel = 7,"
            " cost_micros = CASE funding WHEN 'test' THEN 0 ELSE 1001 END,"
            " cpu_us = 1500, wall_us = 2500, memory_bytes_peak = 65536, attempts = 1, exit_code = 0,"
            " started_at = clock_timestamp(), finished_at = clock_timestamp() WHERE id = %(id)s",
            {"id": cast_id, "output": output, "log": log},
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def api_environment(database_url: str, redis_url: str, port: int, **settings: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PORT": str(port),
        "ARTIFACT_SIGNING_KEY": secrets.token_hex(32),
        "CAST_TOKEN_KEY": secrets.token_hex(32),
        "WEBHOOK_SIGNING_KEY": secrets.token_hex(32),
        "RECEIPT_SIGNING_KEY": secrets.token_hex(32),
        "WORKER_TOKEN": secrets.token_hex(32),
        "ADMIN_SECRET": ADMIN_SECRET,
        "RATE_LIMIT_ANON_RPM": "100000",
        **settings,
    }


class Api:
    """A running api process."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
        self.process = process
        self.url = url
        self.log_path = log_path
        self.http = httpx.Client(base_url=url, timeout=PATIENCE_SECONDS)

    def logged(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first line that fits; lines are written a moment after what they tell."""
        deadline = time.monotonic() + LOG_PATIENCE_SECONDS
        while time.monotonic() < deadline:
            written = self.log_path.read_bytes()
            whole = written[: written.rfind(b"\n") + 1]
            for line in whole.splitlines():
                if fits(decoded := msgspec.json.decode(line)):
                    return decoded
            time.sleep(0.01)
        pytest.fail(f"no such line within {LOG_PATIENCE_SECONDS} s:\n{self.log_path.read_text()[-4000:]}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_SECONDS)


@contextmanager
def run_api(database_url: str, redis_url: str, folder: Path, **settings: str) -> Generator[Api]:
    port = free_port()
    log_path = folder / f"api-{port}.log"
    environment = api_environment(database_url, redis_url, port, **settings)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api"], cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    api = Api(process, f"http://127.0.0.1:{port}", log_path)
    try:
        _wait_until_up(api)
        yield api
    finally:
        api.http.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait_until_up(api: Api) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if api.http.get("/healthz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert api.process.poll() is None, api.log_path.read_text()
        assert time.monotonic() < give_up_at, api.log_path.read_text()
        time.sleep(0.05)
