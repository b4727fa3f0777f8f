"""Every table and column there is, and what an export of a person's data takes from it.

`tests/domain/test_personal_data.py` compares this with the database's own catalog: a table or column that is not here
fails it, and so does a column that is called exported and is not in the file.
"""

from collections.abc import Mapping
from typing import Final

import msgspec


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What of a table with an owner an export holds."""

    file: str
    """The file of the archive with its rows, without `.json`."""
    exported: tuple[str, ...]
    withheld: Mapping[str, str] = {}
    """Columns that are left out, each with the reason."""


_OWNER: Final = "whose export it is stands in export.json"
_SECRET: Final = "what proves who somebody is stays where it is; a hash is of no use to its owner"  # noqa: S105
_WITHIN: Final = "it only says to which row of the file this belongs"
_COUNT: Final = "a counter the platform works with, of the moment"
_WORK: Final = "how far the making of the export is"
_SHARES: Final = "when the creators whose spells it paid are looked after"
_SENDING: Final = "how the platform asks Stripe, of the moment"

OWNED: Final[Mapping[str, Rule]] = {
    "accounts": Rule(
        file="account",
        exported=(
            "id", "handle", "kind", "status", "home_region", "plan", "billing", "subscription_active", "spend_paused",
            "credits_ever", "open_casts_max", "created_at", "data_days", "has_webhooks", "listening_until",
            "price_version",
        ),
        withheld=dict.fromkeys(("open_casts", "on_wire_default", "on_wire_large"), _COUNT),
    ),
    "users": Rule(
        file="profile",
        exported=("id", "email", "created_at", "name", "email_verified_at", "role", "erased_at"),
        withheld={"account_id": _OWNER},
    ),
    "identities": Rule(
        file="identities",
        exported=("id", "user_id", "issuer", "subject", "email", "email_verified", "created_at", "last_login_at"),
        withheld={"account_id": _OWNER},
    ),
    "sessions": Rule(
        file="sessions",
        exported=(
            "id", "user_id", "kind", "user_agent", "address", "created_at", "last_used_at", "expires_at", "ended_at",
        ),
        withheld={"account_id": _OWNER, "token_hash": _SECRET},
    ),
    "device_logins": Rule(
        file="device_logins",
        exported=("device_name", "created_at", "expires_at", "user_id", "decided_at", "approved", "used_at"),
        withheld={"device_hash": _SECRET, "user_code": _SECRET},
    ),
    "api_keys": Rule(
        file="keys",
        exported=(
            "id", "prefix", "name", "scopes", "made_by_key", "rate_limit_rpm", "open_casts_max", "created_at",
            "expires_at", "revoked_at", "allowed_origins", "last_used_at", "rotated_at", "previous_prefix",
            "previous_until",
        ),
        withheld={
            "account_id": _OWNER, "secret_hash": _SECRET, "previous_secret_hash": _SECRET, "open_casts": _COUNT,
        },
    ),
    "spells": Rule(
        file="spells",
        exported=("id", "name", "description", "visibility", "suspended_at", "created_at", "deprecation"),
        withheld={"account_id": _OWNER},
    ),
    "spell_versions": Rule(
        file="spell_versions",
        exported=(
            "id", "spell_id", "version", "digest", "size_bytes", "manifest", "imports", "creator_price_micros",
            "yanked_at", "created_at", "deprecation",
        ),
        withheld={"account_id": _OWNER},
    ),
    "spell_prices": Rule(
        file="spell_prices",
        exported=(
            "version_id", "number", "announced_at", "effective_at", "before_per_cast_micros",
            "before_per_output_kib_micros", "before_per_unit_micros", "per_cast_micros", "per_output_kib_micros",
            "per_unit_micros", "units_max",
        ),
        withheld={"account_id": _OWNER},
    ),
    "budgets": Rule(
        file="budgets",
        exported=(
            "id", "scope", "scope_id", "period", "soft_limit_micros", "hard_limit_micros", "notify", "created_at",
            "deleted_at",
        ),
        withheld={"account_id": _OWNER},
    ),
    "budget_windows": Rule(
        file="budget_windows",
        exported=(
            "id", "budget_id", "starts_on", "hard_limit_micros", "spent_micros", "held_micros", "notified_percent",
        ),
        withheld={"account_id": _OWNER},
    ),
    "account_months": Rule(
        file="months",
        exported=("month", "spent_micros", "held_micros", "free_used", "free_held", "test_casts"),
        withheld={"account_id": _OWNER},
    ),
    "credit_grants": Rule(
        file="credits",
        exported=(
            "id", "priority", "granted_micros", "balance_micros", "held_micros", "expires_at", "created_at", "order_id",
            "reason", "expired_micros", "taken_back_micros",
        ),
        withheld={"account_id": _OWNER, "shares_seen_micros": _SHARES, "shares_look_at": _SHARES},
    ),
    "credit_orders": Rule(
        file="credit_orders",
        exported=(
            "id", "origin", "package_id", "credits", "price_micros", "granted_micros", "status", "stripe_session",
            "stripe_payment", "stripe_payment_method", "stripe_customer", "stripe_refunded_micros", "checkout_url",
            "created_at", "granted_at",
        ),
        withheld={"account_id": _OWNER},
    ),
    "credit_takebacks": Rule(
        file="credit_takebacks",
        exported=(
            "id", "order_id", "kind", "reference", "money_micros", "credits_micros", "owed_micros", "created_at",
            "reversed_at",
        ),
        withheld={"account_id": _OWNER},
    ),
    "credit_transactions": Rule(
        file="credit_history",
        exported=(
            "number", "kind", "amount_micros", "balance_before_micros", "balance_after_micros", "reason",
            "reference_type", "reference_id", "casts", "created_at",
        ),
        withheld={"account_id": _OWNER},
    ),
    "credit_consumptions": Rule(
        file="credit_consumptions",
        exported=("id", "idempotency_key", "amount_micros", "number", "created_at"),
        withheld={
            "account_id": _OWNER, "caller_id": "the account of a service of the platform",
            "request_hash": "what was asked is in the history",
        },
    ),
    "auto_top_ups": Rule(
        file="auto_top_up",
        exported=("enabled", "package_id", "threshold_micros", "monthly_cap_micros", "paused_at", "updated_at"),
        withheld={"account_id": _OWNER},
    ),
    "idempotency_keys": Rule(
        file="idempotency_keys",
        exported=("key", "mode", "cast_ids", "created_at"),
        withheld={"account_id": _OWNER, "request_hash": "what was asked is in the file of what was made"},
    ),
    "casts": Rule(
        file="casts",
        exported=(
            "id", "key_id", "spell_id", "version_id", "status", "pool", "cancel_requested", "accepted_at",
            "deadline_at", "started_at", "finished_at", "data_expires_at", "fuel_limit", "wall_ms_limit",
            "memory_bytes_limit", "output_bytes_limit", "log_bytes_limit", "price_version", "creator_price_micros",
            "held_micros", "cost_micros", "funding", "window_ids", "grant_ids", "grant_micros", "input",
            "output", "log", "metadata", "traceparent", "error_code", "error_message", "exit_code", "fuel", "cpu_us",
            "memory_bytes_peak", "wall_us", "attempts", "webhook_url", "data_once", "creator_rates", "quote_id",
            "output_bytes", "units",
        ),
        withheld={
            "account_id": _OWNER, "on_wire": _COUNT, "creator_id": "another's account; `spell` says whose spell it was",
        },
    ),
    "usage_events": Rule(
        file="usage_events",
        exported=(
            "id", "key_id", "spell_id", "outcome", "month", "fuel", "cpu_us", "memory_bytes_peak", "wall_us",
            "cost_micros", "funding", "settled_at", "batch_id",
        ),
        withheld={"account_id": _OWNER},
    ),
    # Inside the usage event of their cast, as `strays`.
    "usage_strays": Rule(
        file="usage_events",
        exported=("outcome", "fuel", "cpu_us", "wall_us", "seen_at"),
        withheld={"account_id": _OWNER, "cast_id": _WITHIN, "worker": "a machine of the platform"},
    ),
    "usage_counters": Rule(
        file="usage_counters",
        exported=(
            "dimension", "subject_id", "period", "starts_on", "funding", "casts", "failed", "fuel", "cpu_us",
            "cost_micros",
        ),
        withheld={"account_id": _OWNER},
    ),
    # And what a creator earned in `earnings`, without who paid it.
    "ledger_transfers": Rule(
        file="ledger",
        exported=(
            "id", "batch_id", "kind", "debit", "credit", "amount_micros", "spell_id", "month", "casts", "created_at",
        ),
        withheld={"account_id": _OWNER, "source_id": "of what a creator earned it is another's payment"},
    ),
    "cast_refunds": Rule(
        file="refunds",
        exported=("cast_id", "amount_micros", "reason", "refunded_at"),
        withheld={"account_id": _OWNER},
    ),
    "webhook_endpoints": Rule(
        file="webhooks",
        exported=(
            "id", "url", "description", "event_types", "secret_version", "previous_secret_until", "failing_since",
            "disabled_at", "disabled_reason", "created_at", "deleted_at", "mode",
        ),
        withheld={"account_id": _OWNER},
    ),
    # Those to endpoints; mail, what casts named and what was followed are in `messages`, with the same columns.
    "outgoing": Rule(
        file="deliveries",
        exported=(
            "id", "kind", "event_id", "event_type", "endpoint_id", "target", "cast_id", "payload", "created_at",
            "attempts", "next_attempt_at", "status", "finished_at",
        ),
        withheld={
            "account_id": _OWNER, "destination": "made of the columns beside it", "attempts_before": _COUNT,
            "lease_until": _COUNT,
        },
    ),
    "billing_accounts": Rule(
        file="billing",
        exported=(
            "stripe_customer_id", "stripe_subscription_id", "status", "plan", "stripe_price_id", "current_period_end",
            "ends_at", "grace_until", "unpaid_invoices", "created_at", "updated_at",
        ),
        withheld={
            "account_id": _OWNER, "asked_at": _WORK, "checkout_session_id": "a page that is open for a day",
        },
    ),
    # Inside their delivery, as `attempt_log`.
    "outgoing_attempts": Rule(
        file="deliveries",
        exported=(
            "attempt", "started_at", "duration_ms", "request_headers", "status_code", "response_body", "error",
        ),
        withheld={"account_id": _OWNER, "outgoing_id": _WITHIN},
    ),
    "audit_log": Rule(
        file="audit",
        exported=(
            "id", "at", "actor_kind", "actor_id", "user_id", "action", "target_kind", "target_id", "before", "after",
            "address", "request_id",
        ),
        withheld={"account_id": _OWNER},
    ),
    "billing_run_accounts": Rule(
        file="billing_runs",
        exported=("run_id", "outcome", "trouble"),
        withheld={"account_id": _OWNER, "look_at": _COUNT},
    ),
    "invoices": Rule(
        file="invoices",
        exported=(
            "id", "run_id", "period", "frozen_at", "usage_micros", "carry_in_micros", "carry_out_micros", "total_cents",
            "calls", "description", "status", "stripe_customer_id", "stripe_invoice_id", "number", "hosted_url",
            "pdf_url", "finalized_at", "closed_at",
        ),
        withheld={"account_id": _OWNER},
    ),
    "invoice_lines": Rule(
        file="invoice_lines",
        exported=(
            "id", "invoice_id", "month", "spell_id", "calls", "amount_micros", "settled_after", "settled_until",
        ),
        withheld={"account_id": _OWNER, "share_micros": "what the creator of the spell gets of it"},
    ),
    "payout_accounts": Rule(
        file="payout_account",
        exported=(
            "stripe_account_id", "details_submitted", "transfers_active", "payouts_enabled", "disabled_reason",
            "created_at", "updated_at",
        ),
        withheld={"account_id": _OWNER, **dict.fromkeys(("epoch", "tried_at", "asked_at"), _SENDING)},
    ),
    "payout_run_accounts": Rule(
        file="payout_runs",
        exported=("run_id", "outcome", "payable_micros", "trouble"),
        withheld={"account_id": _OWNER, "look_at": _COUNT},
    ),
    "payouts": Rule(
        file="payouts",
        exported=(
            "id", "run_id", "period", "frozen_at", "payable_micros", "held_back_micros", "amount_cents",
            "stripe_account_id", "status", "stripe_transfer_id", "reversed_cents", "refused_code", "finished_at",
        ),
        withheld={"account_id": _OWNER},
    ),
    "outbox": Rule(
        file="outbox",
        exported=(
            "id", "kind", "subject_id", "frozen", "created_at", "step", "known", "trouble", "is_blocked", "status",
            "finished_at",
        ),
        withheld={
            "account_id": _OWNER, "epoch": _SENDING, "tried_at": _SENDING, "must_look": _SENDING,
            "attempts": _SENDING, "next_attempt_at": _SENDING, "lease_until": _SENDING,
        },
    ),
    "privacy_exports": Rule(
        file="exports",
        exported=(
            "id", "user_id", "status", "progress_percent", "created_at", "finished_at", "expires_at", "error",
            "size_bytes",
        ),
        withheld={
            "account_id": _OWNER, "lease_until": _WORK, "state": _WORK, "pieces": _WORK, "attempts": _WORK,
        },
    ),
}  # fmt: skip

# Tables of which an export takes nothing.
UNEXPORTED: Final[Mapping[str, str]] = {
    "login_flows": "a login of a few minutes, before anybody knows of whom; it names nobody",
    "magic_links": "an address that was typed in and a hash, for minutes; who it belongs to is not yet proved",
    "privacy_export_pieces": "the export itself",
    "erasures": "how far the erasure of an account is, which exports nothing any more",
    "retired_handles": "hashes of handles nobody may take again; whose they were stands nowhere",
    "blobs": "modules by digest, belonging to nobody; GET …/versions/{version}/module gives a creator the bytes",
    "blob_pieces": "as blobs",
    "artifacts": "compiled from modules by the platform",
    "price_book": "prices: those of all, and what was agreed on, which casts and receipts name",
    "credit_packages": "what is for sale, the same for all",
    "scheduled_runs": "the platform's own clock",
    "account_ids": "ids of accounts, for others to refer to",
    "usage_uncounted": "which casts are counted next; the export counts them already",
    "billing_runs": "which months were billed, the same for all",
    "payout_runs": "which months were paid out, the same for all",
    "reconciliation_reports": "sums of the platform's books",
    "schema_migrations": "the schema's own history",
    "stripe_comparisons": "when the platform's books were compared with Stripe's",
    "stripe_listed": "ids, states and amounts of what Stripe has, for a day; ours of them stand where they belong",
    "stripe_events": "ids of Stripe's objects and when it told of them; what came of it stands where it was applied",
}
