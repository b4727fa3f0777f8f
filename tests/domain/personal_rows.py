"""One of everything an account can have, and its rows as the database has them, to be compared with an export."""

import base64
import re
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from psycopg.rows import dict_row

from domain.flow.settle import settle
from domain.model.messages import CastJob, Outcome
from domain.model.personal_data import OWNED
from domain.store.connection import Pool, transaction
from tests.domain.admitted import accept
from tests.domain.events import event_of
from tests.domain.world import TOKEN_KEY, World

NO_TEXT = b"\xff\xfe\x00"
# Keys of rows that have no `id`.
KEYS = {
    "device_logins": ("device_name",),
    "account_months": ("month",),
    "billing_run_accounts": ("run_id",),
    "spell_prices": ("version_id", "number"),
    "cast_refunds": ("cast_id",),
    "billing_accounts": ("stripe_customer_id",),
    "payout_accounts": ("stripe_account_id",),
    "payout_run_accounts": ("run_id",),
    "idempotency_keys": ("key",),
    "credit_transactions": ("number",),
    "auto_top_ups": ("package_id",),
    "usage_counters": ("dimension", "subject_id", "period", "starts_on", "funding"),
}
NESTED = {"usage_strays": "strays", "outgoing_attempts": "attempt_log"}
_END_OF_INSTANT = re.compile(r"(T\d\d:\d\d:\d\d)(\.\d*[1-9])?0*(?:\+00:00|Z)$")
_USER = "(SELECT id FROM users WHERE account_id = %(account)s)"
# Columns that stay null or at their default here are compared as well.
ROWS = """
    INSERT INTO users (id, account_id, email, name, email_verified_at)
      VALUES (%(user)s, %(account)s, %(mail)s, 'Ada L.', now());
    INSERT INTO identities
      VALUES (%(a)s, %(user)s, %(account)s, 'email', %(mail)s, %(mail)s, true, now(), now());
    INSERT INTO sessions
      VALUES (%(a)s, %(user)s, %(account)s, sha256(%(user)s::text::bytea), 'browser', 'Firefox', '192.0.2.7',
      now(), now(), now() + interval '1 day', NULL);
    INSERT INTO device_logins
      VALUES (sha256(%(user)s::text::bytea), %(mail)s, 'laptop', now(), now() + interval '1 day', %(user)s, now(),
      true, now());
    INSERT INTO spells (id, account_id, name, description)
      VALUES (%(b)s, %(account)s, 'mine', 'my own');
    INSERT INTO spell_versions (id, spell_id, account_id, version, digest, size_bytes, manifest)
      VALUES (%(a)s, %(b)s, %(account)s, '1.0.0', %(digest)s, 1, '{"huge": 123456789012345678901234567890.10}');
    INSERT INTO spell_prices
      VALUES (%(a)s, 1, %(account)s, now(), now() + interval '1 day', 1, 2, 3, 4, 5, 6, 7);
    INSERT INTO cast_refunds
      VALUES (%(a)s, %(account)s, 9, 'we are sorry', now());
    INSERT INTO budgets (id, account_id, scope, scope_id, period, hard_limit_micros)
      VALUES (%(b)s, %(account)s, 'account', %(account)s, 'daily', 5000000);
    INSERT INTO budget_windows (id, account_id, budget_id, starts_on)
      VALUES (%(a)s, %(account)s, %(b)s, '2026-01-01');
    INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros)
      VALUES (%(a)s, %(account)s, 7, 7);
    INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros, status,
      stripe_session, stripe_payment, checkout_url, created_at, granted_at)
      VALUES (%(b)s, %(account)s, 'checkout', 'starter', 1000, 9990000, 10000000, 'completed', %(a)s::text,
      %(b)s::text, 'https://pay.example/x', now(), now());
    INSERT INTO credit_takebacks
      VALUES (%(a)s, %(account)s, %(b)s, 'refund', '1', 10000, 10010, 0, now(), NULL);
    INSERT INTO credit_transactions
      VALUES (%(account)s, 1, 'grant', 7, 0, 7, 'for you', 'grant', 'x', 0, now());
    INSERT INTO credit_consumptions
      VALUES (%(b)s, %(account)s, %(account)s, %(user)s::text, sha256('x'), 7, 1, now());
    INSERT INTO auto_top_ups
      VALUES (%(account)s, true, 'starter', 1000000, 20000000, NULL, now());
    INSERT INTO billing_accounts
      VALUES (%(account)s, 'cus_' || %(user)s, 'sub_1', 'past_due', 'pro', 'price_1', now(), now(), now(), '{in_1}',
      'cs_1', now(), now(), now());
    INSERT INTO webhook_endpoints (id, account_id, url, event_types)
      VALUES (%(b)s, %(account)s, 'https://hook.example/x', '{*}');
    INSERT INTO outgoing (id, account_id, kind, event_id, event_type, endpoint_id, payload, created_at,
      next_attempt_at, attempts)
      VALUES (%(b)s, %(account)s, 'webhook', %(a)s, 'webhook.test', %(b)s, '{"x": 1}', now(), now(), 2);
    INSERT INTO outgoing_attempts
      VALUES (%(b)s, 1, %(account)s, now(), 12, '{"a": "b"}', 500, 'gone', NULL), (%(b)s, 2, %(account)s, now(),
      13, '{}', NULL, NULL, 'no answer');
    INSERT INTO outgoing (id, account_id, kind, event_id, event_type, target, payload, created_at, next_attempt_at)
      VALUES (%(a)s, %(account)s, 'mail', %(a)s, 'budget.threshold', %(mail)s, '{}', now(), now());
    INSERT INTO audit_log
      VALUES (%(a)s, %(account)s, now(), 'session', %(a)s, %(user)s, 'key.create', 'key', 'k', NULL, '{"name":
      "x"}', '192.0.2.7', 'r1');
    INSERT INTO billing_runs (id, period, started_at)
      VALUES (%(a)s, '2026-01-01', now()) ON CONFLICT DO NOTHING;
    INSERT INTO billing_run_accounts (run_id, account_id, outcome, look_at)
      SELECT id, %(account)s, 'frozen', now() FROM billing_runs WHERE period = '2026-01-01';
    INSERT INTO invoices (id, account_id, run_id, period, frozen_at, usage_micros, carry_in_micros, carry_out_micros,
      total_cents, calls, description, status, stripe_customer_id, stripe_invoice_id, number, hosted_url)
      SELECT %(b)s, %(account)s, id, '2026-01-01', now(), 1234567, 0, 4567, 123, 7, 'usage', 'open', 'cus_1',
      %(mail)s, 'S-1', 'https://invoice.example/i' FROM billing_runs WHERE period = '2026-01-01';
    INSERT INTO invoice_lines (id, invoice_id, account_id, month, spell_id, calls, amount_micros, settled_after,
      settled_until)
      VALUES (%(a)s, %(b)s, %(account)s, '2026-01-01', %(b)s, 7, 1234567, '1970-01-01', now());
    INSERT INTO payout_accounts (account_id, tried_at, stripe_account_id, disabled_reason, created_at, updated_at)
      VALUES (%(account)s, now(), 'acct_' || %(user)s, 'requirements.past_due', now(), now());
    INSERT INTO payout_runs (id, period, started_at)
      VALUES (%(a)s, '2026-01-01', now()) ON CONFLICT DO NOTHING;
    INSERT INTO payout_run_accounts (run_id, account_id, outcome, look_at)
      SELECT id, %(account)s, 'frozen', now() FROM payout_runs WHERE period = '2026-01-01';
    INSERT INTO payouts (id, account_id, run_id, period, frozen_at, payable_micros, held_back_micros, amount_cents,
      stripe_account_id, stripe_transfer_id)
      SELECT %(b)s, %(account)s, id, '2026-01-01', now(), 12345678, 0, 1234, 'acct_1', %(mail)s
      FROM payout_runs WHERE period = '2026-01-01';
    INSERT INTO outbox (id, account_id, kind, subject_id, frozen, created_at, step, known, next_attempt_at, trouble)
      VALUES (%(a)s, %(account)s, 'refund', %(b)s, '{"amount_cents": 7}', now(), 'refund', '{"refund_id": "re_1"}',
      now(), 'no answer');
    INSERT INTO privacy_exports (id, account_id, user_id, status, created_at, finished_at, expires_at)
      VALUES (%(b)s, %(account)s, %(user)s, 'expired', now(), now(), now())
"""


async def give_everything(world: World, pool: Pool) -> list[CastJob]:
    """Give `world`'s account one of everything, and four casts: two that ended, one open, one whose data expired."""
    jobs = await accept(
        world, pool, *[world.spec(creator_price_micros=500, text=b'{"n": 1}')] * 2, world.spec(text=NO_TEXT), key="once"
    )
    (late,) = await accept(world, pool, world.spec(text=b'"late"'))
    events = [event_of(jobs[0]), event_of(jobs[1], Outcome.TRAP, output=NO_TEXT, log=b"a\x00log"), event_of(late)]
    async with transaction(pool) as connection:
        await settle(connection, events, batch_id=uuid4(), token_key=TOKEN_KEY)
    await world.rows("UPDATE casts SET data_expires_at = now() - interval '1 hour' WHERE id = %s", late.cast_id)
    await world.rows(
        "INSERT INTO usage_strays VALUES (%s, %s, 'succeeded', 7, 8, 9, 'w1', now())",
        *(jobs[0].cast_id, world.account_id),
    )
    await fill(world.database_url, world.account_id)
    return [*jobs, late]


async def fill(database_url: str, account_id: UUID) -> None:
    a, b, user = uuid4(), uuid4(), uuid4()
    parameters = {"a": a, "b": b, "user": user, "account": account_id, "mail": f"{user}@example.com"}
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for statement in ROWS.split(";\n"):
            await connection.execute(statement.encode(), {**parameters, "digest": b"d" * 32})


async def kept_rows(world: World, account_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """Return what the database has of an account, by table: the columns that are exported, in JSON's types."""
    owner = {"accounts": "id", "device_logins": "user_id"}
    found: dict[str, list[dict[str, Any]]] = {}
    async with await psycopg.AsyncConnection.connect(world.database_url, row_factory=dict_row) as connection:
        await connection.execute("SET timezone = 'UTC'")
        for table, rule in OWNED.items():
            whose = f"= {_USER}" if table == "device_logins" else "= %(account)s"
            columns, where = ", ".join(rule.exported), f"{owner.get(table, 'account_id')} {whose}"
            query = f"SELECT {columns} FROM {table} WHERE {where}"  # noqa: S608  # names of our own
            cursor = await connection.execute(query.encode(), {"account": account_id})
            found[table] = [plain(table, row) for row in await cursor.fetchall()]
    return found


def plain(table: str, row: dict[str, Any]) -> dict[str, Any]:
    for name, value in row.items():
        if name == "digest":
            row[name] = f"sha256:{value.hex()}"
        elif isinstance(value, bytes) and table == "outgoing_attempts":
            row[name] = base64.b64encode(value).decode()
        elif isinstance(value, bytes):
            row[name] = {"base64": base64.b64encode(value).decode()} if value == NO_TEXT else value.decode()
        elif name == "metadata":
            row[name] = msgspec.json.decode(value)
    return instants(msgspec.json.decode(msgspec.json.encode(row)))


def instants(value: Any) -> Any:
    """Write every instant the same way: JSON made by Postgres ends with +00:00 and has no zeros before, ours has Z."""
    if isinstance(value, dict):
        return {name: instants(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [instants(inner) for inner in value]
    return _END_OF_INSTANT.sub(r"\1\2Z", value) if isinstance(value, str) else value
