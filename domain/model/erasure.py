"""What an erasure does to each table and column, and why what stays may stay.

`tests/domain/test_erasure.py` compares this with the database's own catalog: a table with an owner that is not here
fails it, and so does a column that can hold words and is neither emptied nor kept for a reason.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

# A session somebody left open, or stole, erases nothing: the person signed in just now.
RECENT_SIGN_IN: Final = timedelta(minutes=15)
FAREWELL: Final = "Its creator has left the platform. Exact versions go on; nobody mends them."
# Fields of entries of the audit log in which a person may have written a name or an address.
PERSONAL_AUDIT_FIELDS: Final = (
    "handle", "name", "description", "deprecation", "reason", "url", "allowed_origins", "issuer",
)  # fmt: skip


def pseudonym_of(account_id: UUID) -> str:
    """Return the handle of an account that names nobody any more: made of its id, which the books go on with."""
    return f"erased-{account_id.hex}"


# Whole rows that go.
DELETED: Final[Mapping[str, str]] = {
    "identities": "as whom others know the person",
    "sessions": "where the person signed in",
    "device_logins": "programs the person let in",
    "idempotency_keys": "names the person gave to requests",
    "outgoing": "what was sent, with addresses",
    "outgoing_attempts": "with their rows of `outgoing`",
    "magic_links": "the person's mail address",
    "privacy_export_pieces": "copies of everything else",
}

# Columns that are emptied, or get a value that is the same for all.
EMPTIED: Final[Mapping[str, tuple[str, ...]]] = {
    "accounts": ("handle",),
    "users": ("email", "name"),
    "api_keys": ("name", "secret_hash", "previous_secret_hash", "previous_prefix", "allowed_origins"),
    "spells": ("name", "description", "deprecation"),
    "spell_versions": ("manifest", "deprecation"),
    "casts": ("input", "output", "log", "metadata", "traceparent", "error_message", "webhook_url"),
    "webhook_endpoints": ("url", "description"),
    "credit_orders": ("checkout_url", "stripe_payment_method"),
    "privacy_exports": ("error", "state"),
    "invoices": ("hosted_url", "pdf_url"),
    "audit_log": ("address", "request_id", "before", "after"),
}

_WORD: Final = "one of a few words of the platform's own"
_IDS: Final = "ids that lead to nobody"
_BOOKS: Final = "what was paid is kept as long as the law asks; the name behind the id is at Stripe alone"
_OPERATOR: Final = "the operator's words about money, part of the books"

# Columns that can hold words and stay.
KEPT: Final[Mapping[str, Mapping[str, str]]] = {
    "accounts": dict.fromkeys(("kind", "status", "home_region", "plan", "billing"), _WORD),
    "users": {"role": _WORD},
    "api_keys": {"prefix": "random characters; casts are told apart by it", "scopes": _WORD},
    "spells": {"visibility": _WORD},
    "spell_versions": {
        "version": "a number", "digest": "of the module, which stays: others may run it", "imports": _WORD,
    },
    "budgets": dict.fromkeys(("scope", "period"), _WORD),
    "casts": dict.fromkeys(("status", "pool", "funding", "error_code"), _WORD),
    "usage_events": dict.fromkeys(("outcome", "funding"), _WORD),
    "usage_strays": {"outcome": _WORD, "worker": "a machine of the platform"},
    "usage_counters": dict.fromkeys(("dimension", "period", "funding"), _WORD),
    "ledger_transfers": {"kind": _WORD, "debit": _IDS, "credit": _IDS},
    "webhook_endpoints": dict.fromkeys(("event_types", "disabled_reason", "mode"), _WORD),
    "audit_log": {
        "actor_kind": _WORD, "action": _WORD, "target_kind": _WORD, "target_id": _IDS,
    },
    "privacy_exports": {"status": _WORD},
    "credit_grants": {"reason": _OPERATOR},
    "credit_orders": {
        "origin": _WORD, "package_id": _WORD, "status": _WORD, "stripe_session": _BOOKS, "stripe_payment": _BOOKS,
        "stripe_customer": _BOOKS,
    },
    "credit_takebacks": {"kind": _WORD, "reference": _BOOKS},
    "credit_transactions": {
        "kind": _WORD, "reason": _OPERATOR, "reference_type": _WORD, "reference_id": _IDS,
    },
    "credit_consumptions": {"idempotency_key": "a service's name for a request", "request_hash": "of numbers and ids"},
    "auto_top_ups": {"package_id": _WORD},
    "cast_refunds": {"reason": _OPERATOR},
    "billing_run_accounts": {"outcome": _WORD, "trouble": _BOOKS},
    "invoices": {
        "description": "a month, a count and an amount", "status": _WORD, "number": _BOOKS,
        "stripe_customer_id": _BOOKS, "stripe_invoice_id": _BOOKS,
    },
    "billing_accounts": {
        "stripe_customer_id": _BOOKS, "stripe_subscription_id": _BOOKS, "status": _WORD, "plan": _WORD,
        "stripe_price_id": _WORD, "unpaid_invoices": _BOOKS, "checkout_session_id": _BOOKS,
    },
    "payout_accounts": {"stripe_account_id": _BOOKS, "disabled_reason": "a word of Stripe's"},
    "payout_run_accounts": {"outcome": _WORD, "trouble": _BOOKS},
    "payouts": {
        "stripe_account_id": _BOOKS, "status": _WORD, "stripe_transfer_id": _BOOKS,
        "refused_code": "a word of Stripe's",
    },
    "outbox": {
        "kind": _WORD, "frozen": _BOOKS, "step": _WORD, "known": _BOOKS, "status": _WORD, "trouble": _BOOKS,
    },
}  # fmt: skip
