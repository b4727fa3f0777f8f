"""Secrets made to be found: everything is done once with them, and everything fails once; nothing shows them.

Where they may stand, and why it is no leak: `input`, `output` and `log` of a cast hold what its caller sent, for as
long as its account keeps them; the answer that makes a secret shows it once; Redis holds inputs on their way.
"""

import base64
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from psycopg import sql

from local.servers import Servers
from operate.processes import ProcessPlan
from tests.api.platform import Account, Signed, free_port
from tests.servers import TestDatabases, flush_redis, revive
from tests.stack import CLEAN, Stack, running, until

SECRET_SETTINGS: Final = (
    "ADMIN_SECRET",
    "ARTIFACT_SIGNING_KEY",
    "CAST_TOKEN_KEY",
    "WEBHOOK_SIGNING_KEY",
    "WORKER_TOKEN",
)
# Of a cast, what the caller's own data is.
CASTS_OWN: Final = ["input", "output", "log"]
# Shorter ones stand in too much by accident.
CANARY_BYTES_MIN: Final = 12


# Who tries every wrong door is not to be told to come back later.
TALKATIVE: Final = {"LOG_LEVEL": "debug", "RATE_LIMIT_ANON_RPM": "100000", "RATE_LIMIT_RPM": "100000"}


class TalkativeStack(Stack):
    """Everything logs everything."""

    def spread(self, planned: Sequence[ProcessPlan]) -> list[ProcessPlan]:
        return [
            msgspec.structs.replace(plan, environment={**plan.environment, **TALKATIVE})
            for plan in super().spread(planned)
        ]


class Canaries:
    """Secrets by name, and every answer that was not meant to show one."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.answers: list[bytes] = []

    def add(self, name: str, text: str) -> str:
        assert len(text) >= CANARY_BYTES_MIN, name
        self.texts[name] = text
        return text

    def forms(self) -> dict[str, bytes]:
        """Return each secret as it is, and as a dump or a log might spell it."""
        forms: dict[str, bytes] = {}
        for name, text in self.texts.items():
            raw = text.encode()
            forms |= {name: raw, f"{name} in hex": raw.hex().encode(), f"{name} in base64": base64.b64encode(raw)[:-4]}
        return forms

    def found_in(self, content: bytes) -> list[str]:
        return [name for name, form in self.forms().items() if form in content]

    def hear(self, answer: httpx.Response) -> httpx.Response:
        """Keep an answer that must show nothing."""
        self.answers.append(repr(answer.headers).encode() + answer.content)
        return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canaries")


@pytest.fixture(scope="module")
def stack(
    folder: Path, test_databases: TestDatabases, template_database_url: str, servers: Servers
) -> Generator[Stack]:
    revive(servers)
    flush_redis(servers.redis_url)
    database_url = test_databases.create(template=template_database_url)
    try:
        with running(TalkativeStack(folder, database_url, servers.redis_url, CLEAN)) as stack:
            yield stack
    finally:
        revive(servers)
        test_databases.drop(database_url)


@contextmanager
def failing(stack: Stack, table: str) -> Generator[None]:
    """Have every new row of a table refused by Postgres, which then tells the row."""
    names = [
        row[0]
        for row in stack.rows.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %(table)s::regclass", {"table": table}
        )
    ] or [table]
    for name in names:
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT refused CHECK (false) NOT VALID").format(sql.Identifier(name))
        stack.rows.execute(add)
    try:
        yield
    finally:
        for name in names:
            stack.rows.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT refused").format(sql.Identifier(name)))


def test_no_secret_is_in_a_log_a_metric_an_error_or_a_row(stack: Stack, folder: Path) -> None:
    canaries = Canaries()
    for name in SECRET_SETTINGS:
        canaries.add(name, stack.environment[name])
    canaries.add("database password", str(httpx.URL(stack.database_url).password))
    canaries.add("dev key", stack.owner_key)
    account = stack.account()
    stack.rows.execute(
        "UPDATE api_keys SET scopes = '{budgets:write,casts:read,casts:write,keys:write,spells:write,webhooks:write}'"
        " WHERE id = %(id)s",
        {"id": account.key_id},
    )
    canaries.add("key", account.key)
    signed = stack.rows.session(account)
    canaries.add("session", signed.token)
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as http:
        succeed_once(stack, http, canaries, account, signed)
        fail_once(stack, http, canaries, account, signed)
        canaries.hear(http.get("/metrics"))
        canaries.hear(http.get("/readyz"))
    stack.settle_all()
    stack.stop(*stack.names)
    heard = b"\n".join(canaries.answers)
    logs = {path.name: path.read_bytes() for path in folder.glob("*.log")}
    assert {"api.log", "ledger.log", "courier.log", "worker.log", "scheduler.log"} <= set(logs)
    assert b"constraint" in logs["api.log"], "the errors that were forced stand in the log"
    assert canaries.found_in(heard) == []
    assert leaks(canaries, logs) == {}
    assert leaks(canaries, dict(dumps(stack))) == {}


def leaks(canaries: Canaries, places: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Return which secrets stand where."""
    return {place: found for place, content in places.items() if (found := canaries.found_in(content))}


def succeed_once(stack: Stack, http: httpx.Client, canaries: Canaries, account: Account, signed: Signed) -> None:
    """Make everything that has a secret, use it, and end it."""
    made = http.post("/v1/keys", json={"name": "canary"}, headers=signed.headers).json()
    canaries.add("made key", made["key"])
    turned = http.post(f"/v1/keys/{made['prefix']}/rotate", headers=signed.headers).json()
    canaries.add("rotated key", turned["key"])
    address = f"http://127.0.0.1:{free_port()}/told"  # where nobody listens
    hook = http.post("/v1/webhooks", json={"url": address}, headers=account.headers)
    assert hook.status_code == 201, hook.text
    canaries.add("webhook secret", hook.json()["secret"])
    again = http.post(f"/v1/webhooks/{hook.json()['id']}/rotate-secret", headers=account.headers)
    canaries.add("rotated webhook secret", again.json()["secret"])
    canaries.add("account's secret", http.get("/v1/webhooks/secret", headers=account.headers).json()["secret"])
    begun = http.post("/auth/device", json={"device_name": "laptop"}).json()
    canaries.add("device code", begun["device_code"])
    form = {"user_code": begun["user_code"], "decision": "approve"}
    canaries.hear(http.post("/auth/device/confirm", data=form, headers=signed.headers))
    given = http.post("/auth/device/token", json={"device_code": begun["device_code"]}).json()
    canaries.add("command line's session", given["session_token"])
    # So short that Postgres would show it whole where it tells a refused row.
    text = canaries.add("input", f"canary-{secrets.token_hex(8)}")
    for headers in ({"authorization": f"Bearer {turned['key']}"}, signed.headers, account.headers):
        body = {"spell": "dev/echo", "input": text}
        cast = http.post("/v1/cast", json=body, headers={**headers, "prefer": "wait=20"})
        assert (cast.status_code, cast.json()["output"]) == (200, text)
    canaries.hear(http.delete(f"/v1/keys/{turned['prefix']}", headers=signed.headers))
    tried = "SELECT count(*) FROM outgoing_attempts WHERE account_id = %(id)s"
    until(lambda: stack.rows.execute(tried, {"id": account.id})[0][0] > 0, "the courier has tried to tell of a cast")


def fail_once(stack: Stack, http: httpx.Client, canaries: Canaries, account: Account, signed: Signed) -> None:
    """Do wrong whatever can be done wrong with a secret in hand."""
    text = canaries.texts["input"]
    for name, secret in canaries.texts.items():
        for headers in (
            {"authorization": f"Bearer {secret}"},
            {"x-admin-secret": secret},
            {"cookie": f"spell_session={secret}"},
        ):
            for path in ("/v1/keys", "/admin/holds", "/internal/artifacts/00?engine=x", "/nowhere"):
                if name != "ADMIN_SECRET" or "x-admin-secret" not in headers:
                    shown = http.get(path, headers=headers)
                    if not shown.is_success:
                        canaries.hear(shown)
    wrong: tuple[tuple[str, Any], ...] = (
        ("/v1/casts", f'{{"spell": "dev/echo", "input": "{text}"'.encode()),
        ("/v1/casts", f'{{"spell": "dev/fail", "input": 1, "limits": "{text}"}}'.encode()),
        ("/v1/casts", f'{{"spell": "dev/nothing", "input": "{text}"}}'.encode()),
        ("/v1/casts/batch", f'{{"casts": "{text}"}}'.encode()),
        ("/v1/keys", b'{"name": 1}'),
    )
    for path, content in wrong:
        refused = canaries.hear(http.post(path, content=content, headers=account.headers))
        assert 400 <= refused.status_code < 500
    body = {"spell": "dev/fail", "input": text}
    http.post("/v1/cast", json=body, headers={**account.headers, "prefer": "wait=20"})
    with failing(stack, "casts"):
        for _ in range(2):
            refused = canaries.hear(
                http.post("/v1/casts", json={"spell": "dev/echo", "input": text}, headers=account.headers)
            )
            assert refused.status_code >= 400
    with failing(stack, "api_keys"):
        assert canaries.hear(http.post("/v1/keys", json={"name": "x"}, headers=signed.headers)).status_code >= 400
    with failing(stack, "sessions"):
        begun = http.post("/auth/device", json={"device_name": "laptop"}).json()
        canaries.add("second device code", begun["device_code"])
        form = {"user_code": begun["user_code"], "decision": "approve"}
        http.post("/auth/device/confirm", data=form, headers=signed.headers)
        poll = http.post("/auth/device/token", json={"device_code": begun["device_code"]})
        assert canaries.hear(poll).status_code >= 400


def dumps(stack: Stack) -> list[tuple[str, bytes]]:
    """Return every table as text, but for what is the callers' own."""
    tables = stack.rows.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    assert len(tables) > 20
    every = sql.SQL("SELECT (to_jsonb(t) - %(own)s::text[])::text FROM {} t")
    found: list[tuple[str, bytes]] = []
    for (table,) in tables:
        own = CASTS_OWN if table == "casts" or table.startswith("casts_") else []
        rows = stack.rows.execute(every.format(sql.Identifier(table)), {"own": own})
        found.append((table, "\n".join(row[0] for row in rows).encode()))
    return found
