"""One row of an account in every table that has an owner, by plain SQL: `test_isolation.py` asks who sees them."""

from typing import Any, Final
from uuid import UUID, uuid4

import psycopg

from tests.domain.world import World

# By table. `%(account)s` owns the row, `%(id)s` is new for each, the others are of the world.
ROWS: Final = {
    "users": "(id, account_id) VALUES (%(user)s, %(account)s)",
    "budgets": (
        "(id, account_id, scope, scope_id, period) VALUES (%(id)s, %(account)s, 'account', %(account)s, 'daily')"
    ),
    "budget_windows": (
        "(id, account_id, budget_id, starts_on)"
        " SELECT %(id)s, account_id, id, '2026-01-01' FROM budgets WHERE account_id = %(account)s"
    ),
    "account_months": "(account_id, month) VALUES (%(account)s, '2026-01-01')",
    "credit_grants": "(id, account_id, granted_micros, balance_micros) VALUES (%(id)s, %(account)s, 1, 1)",
    "credit_orders": (
        "(id, account_id, origin, package_id, credits, price_micros, granted_micros, created_at)"
        " VALUES (%(account)s, %(account)s, 'checkout', 'starter', 1, 1, 1, now())"
    ),
    "credit_takebacks": (
        "(id, account_id, order_id, kind, reference, money_micros, credits_micros, owed_micros, created_at)"
        " VALUES (%(id)s, %(account)s, %(account)s, 'refund', '1', 1, 1, 0, now())"
    ),
    "credit_transactions": (
        "(account_id, number, kind, amount_micros, balance_before_micros, balance_after_micros, created_at)"
        " VALUES (%(account)s, 1, 'grant', 1, 0, 1, now())"
    ),
    "credit_consumptions": (
        "(id, account_id, caller_id, request_hash, amount_micros, number, created_at)"
        " VALUES (%(id)s, %(account)s, %(account)s, %(hash)s, 1, 1, now())"
    ),
    "auto_top_ups": (
        "(account_id, enabled, package_id, threshold_micros, monthly_cap_micros, updated_at)"
        " VALUES (%(account)s, true, 'starter', 1, 1, now())"
    ),
    "billing_accounts": "(account_id, created_at, updated_at) VALUES (%(account)s, now(), now())",
    "idempotency_keys": (
        "(account_id, key, request_hash, cast_ids, created_at) VALUES (%(account)s, 'k', %(hash)s, '{}', now())"
    ),
    "casts": (
        "(id, account_id, spell_id, version_id, status, pool, on_wire, accepted_at, deadline_at, fuel_limit,"
        " wall_ms_limit, memory_bytes_limit, output_bytes_limit, log_bytes_limit, price_version, creator_price_micros,"
        " creator_id, held_micros, funding)"
        " VALUES (uuid7_floor(now()), %(account)s, %(id)s, %(id)s, 'queued', 'default', false, now(), now(), 1, 1, 1,"
        " 1, 1, 1, 0, %(id)s, 0, 'metered')"
    ),
    "usage_events": (
        "(id, account_id, spell_id, outcome, month, cpu_us, memory_bytes_peak, wall_us, cost_micros, funding,"
        " settled_at)"
        " VALUES (uuid7_floor(now()), %(account)s, %(id)s, 'succeeded', '2026-01-01', 1, 1, 1, 1, 'metered', now())"
    ),
    "usage_strays": (
        "(cast_id, account_id, outcome, cpu_us, wall_us, worker, seen_at)"
        " VALUES (%(id)s, %(account)s, 'succeeded', 1, 1, 'w', now())"
    ),
    "usage_counters": (
        "(account_id, dimension, subject_id, period, starts_on, funding, casts, failed, fuel, cpu_us, cost_micros)"
        " VALUES (%(account)s, 'account', %(account)s, 'day', '2026-01-01', 'metered', 1, 0, 1, 1, 1)"
    ),
    "ledger_transfers": (
        "(id, batch_id, kind, debit, credit, amount_micros, account_id, month)"
        " VALUES (%(id)s, %(id)s, 'fee', 'a', 'b', 1, %(account)s, '2026-01-01')"
    ),
    "spell_prices": (
        "(version_id, number, account_id, announced_at, effective_at, before_per_cast_micros,"
        " before_per_output_kib_micros, before_per_unit_micros, per_cast_micros, per_output_kib_micros,"
        " per_unit_micros, units_max)"
        " SELECT v.id, (SELECT 1 + count(*) FROM spell_prices), %(account)s, now(), now(), 0, 0, 0, 1, 0, 0, 0"
        " FROM spell_versions v LIMIT 1"
    ),
    "cast_refunds": (
        "(cast_id, account_id, amount_micros, reason, refunded_at) VALUES (%(id)s, %(account)s, 1, 'x', now())"
    ),
    "webhook_endpoints": "(id, account_id, url, event_types) VALUES (%(id)s, %(account)s, 'https://e.example', '{x}')",
    "outgoing": (
        "(id, account_id, kind, event_id, event_type, target, created_at, next_attempt_at)"
        " VALUES (%(id)s, %(account)s, 'mail', %(id)s, 'x', 'a@example.com', now(), now())"
    ),
    "outgoing_attempts": (
        "(outgoing_id, attempt, account_id, started_at, duration_ms, request_headers)"
        " SELECT id, 1, account_id, now(), 1, '{}' FROM outgoing WHERE account_id = %(account)s"
    ),
    "identities": (
        "(id, user_id, account_id, issuer, subject, created_at, last_login_at)"
        " VALUES (%(id)s, %(user)s, %(account)s, 'github', %(account)s::text, now(), now())"
    ),
    "sessions": (
        "(id, user_id, account_id, token_hash, kind, created_at, last_used_at, expires_at)"
        " VALUES (%(id)s, %(user)s, %(account)s, %(hash)s, 'cli', now(), now(), now())"
    ),
    "audit_log": (
        "(id, account_id, at, actor_kind, action, target_kind, target_id)"
        " VALUES (%(id)s, %(account)s, now(), 'platform', 'key.create', 'key', 'x')"
    ),
    "billing_run_accounts": "(run_id, account_id, look_at) SELECT id, %(account)s, now() FROM billing_runs",
    "invoices": (
        "(id, account_id, run_id, period, frozen_at, usage_micros, carry_in_micros, carry_out_micros, total_cents,"
        " calls, description, status)"
        " SELECT %(id)s, account_id, run_id, '2026-01-01', now(), 1, 0, 1, 0, 1, 'x', 'carried'"
        " FROM billing_run_accounts WHERE account_id = %(account)s"
    ),
    "invoice_lines": (
        "(id, invoice_id, account_id, month, spell_id, calls, amount_micros, settled_after, settled_until)"
        " SELECT %(id)s, i.id, i.account_id, '2026-01-01', (SELECT min(id::text)::uuid FROM spells), 1, 1, now(), now()"
        " FROM invoices i WHERE i.account_id = %(account)s"
    ),
    "payout_accounts": ("(account_id, tried_at, created_at, updated_at) VALUES (%(account)s, now(), now(), now())"),
    "payout_run_accounts": "(run_id, account_id, look_at) SELECT id, %(account)s, now() FROM payout_runs",
    "payouts": (
        "(id, account_id, run_id, period, frozen_at, payable_micros, held_back_micros, amount_cents, stripe_account_id)"
        " SELECT %(id)s, account_id, run_id, '2026-01-01', now(), 10000, 0, 1, 'acct_1'"
        " FROM payout_run_accounts WHERE account_id = %(account)s"
    ),
    "outbox": (
        "(id, account_id, kind, subject_id, frozen, created_at, step, next_attempt_at)"
        " VALUES (%(id)s, %(account)s, 'refund', %(id)s, '{}', now(), 'refund', now())"
    ),
    "erasures": "(account_id, requested_at, looked_at) VALUES (%(account)s, now(), now())",
    "privacy_exports": "(id, account_id, user_id, created_at) VALUES (%(id)s, %(account)s, %(user)s, now())",
    "privacy_export_pieces": (
        "(export_id, account_id, piece, bytes)"
        " SELECT id, account_id, 0, 'x' FROM privacy_exports WHERE account_id = %(account)s"
    ),
}
# Of nobody, and what a row of a run needs.
RUNS: Final = (
    b"INSERT INTO billing_runs (id, period, started_at) VALUES (%s, '2026-01-01', now()) ON CONFLICT DO NOTHING",
    b"INSERT INTO payout_runs (id, period, started_at) VALUES (%s, '2026-01-01', now()) ON CONFLICT DO NOTHING",
)
# What `make_world` makes of each account, or of its creator.
OF_THE_WORLD: Final = frozenset({"accounts", "api_keys", "spells", "spell_versions"})


async def fill(world: World, account_id: UUID) -> None:
    """Give the account a row of each table in ROWS, in their order."""
    parameters: dict[str, Any] = {"account": account_id, "user": uuid4(), "hash": account_id.bytes * 2}
    async with await psycopg.AsyncConnection.connect(world.database_url, autocommit=True) as connection:
        for run in RUNS:
            await connection.execute(run, (uuid4(),))
        for table, row in ROWS.items():
            statement = f"INSERT INTO {table} {row}"
            await connection.execute(statement.encode(), {**parameters, "id": uuid4()})
