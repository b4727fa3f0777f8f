"""Who may use each route, written down apart from the code: `tests/api/test_access.py` asks every route as everybody.

A new route needs a row here: method, path as the handler says it, who (a scope, or one of the words below), what the
right caller is answered, and what the request needs to be right.
"""

from typing import Any, Final

import msgspec

# Nobody is asked who he is.
PUBLIC: Final = "public"
# Everybody may; a caller that shows a key must show a living one.
OPEN: Final = "open"
# Any living key, whatever its scopes.
ANY_KEY: Final = "any key"
# A person who is signed in; no key.
SESSION: Final = "session"
OPERATOR: Final = "operator"
WORKER: Final = "worker"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    who: str | tuple[str, ...]
    right: int
    """The status for whoever may, and owns what the path names."""
    stranger: int | None = None
    """The status for another account's key with every scope; None: as `right`, with its own things."""
    signed_in: int | None = None
    """The status for whoever is signed in, on a page that sends others away; None: as `right`."""
    test_key: int | None = None
    """The status for the owner's test key, which casts and reads casts; None: 403, as almost everywhere."""
    json: Any = None
    content: bytes | None = None
    form: dict[str, str] | None = None


_BUDGET: Final = {"scope": "account", "period": "daily", "hard_limit_cents": 100}
_LIMITS: Final = {"hard_limit_cents": 1, "period": "daily"}
_CAST: Final = {"spell": "{spell}", "input": 1}
_SPELL: Final = "/v1/spells/{owner:str}/{name:str}"
_VERSION: Final = f"{_SPELL}/versions/{{version:str}}"
_ID: Final = "/v1/casts/{cast_id:uuid}"


def _row(method: str, path: str, who: str | tuple[str, ...], right: int = 200, **more: Any) -> Row:
    return Row(method=method, path=path, who=who, right=right, **more)


def _keys(prefix: str) -> tuple[Row, ...]:
    one = f"{prefix}/keys/{{prefix:str}}"
    return (
        _row("GET", f"{prefix}/keys", "keys:write"),
        _row("POST", f"{prefix}/keys", "keys:write", 201, json={"name": "x", "scopes": []}),
        _row("PATCH", one, "keys:write", stranger=404, json={"name": "y"}),
        # A key may rotate itself, so that any key comes as far as being told that this one is not its own.
        _row("POST", f"{one}/rotate", "keys:write", stranger=404, json={"grace_seconds": 0}),
        _row("DELETE", one, "keys:write", 204, stranger=404),
    )


CASTS: Final = (
    _row("POST", "/v1/cast", "casts:write", 202, test_key=202, json=_CAST),
    _row("POST", "/v1/casts", "casts:write", 202, test_key=202, json=_CAST),
    _row("GET", "/v1/casts", "casts:read", test_key=200),
    _row("POST", "/v1/casts/batch", "casts:write", test_key=200, json={"casts": [_CAST]}),
    # The cast of the ground is a live one, which a test key does not see.
    _row("GET", _ID, "casts:read", stranger=404, test_key=404),
    _row("GET", f"{_ID}/log", "casts:read", stranger=404, test_key=404),
    _row("GET", f"{_ID}/receipt", "casts:read", stranger=404, test_key=404),
    _row("POST", f"{_SPELL}/quote", "casts:write", test_key=200, json={"input": 1}),
    _row("GET", f"{_ID}/events", "casts:read", stranger=404, test_key=404),
    _row("POST", f"{_ID}/cancel", "casts:write", stranger=404, test_key=404),
    _row("GET", "/v1/holds", "casts:read"),
)

BUDGETS: Final = (
    _row("POST", "/v1/budgets", ANY_KEY, 201, json=_BUDGET),
    _row("GET", "/v1/budgets", ANY_KEY),
    _row("GET", "/auth/me", ANY_KEY, test_key=200),
    _row("GET", "/v1/budgets/usage", ANY_KEY),
    _row("GET", "/v1/budgets/{budget_id:uuid}", ANY_KEY, stranger=404),
    _row("PUT", "/v1/budgets/{budget_id:uuid}", ANY_KEY, stranger=404, json={"hard_limit_cents": 1}),
    _row("PUT", "/v1/budgets", ANY_KEY, 201, json=_LIMITS),
    _row("DELETE", "/v1/budgets/{budget_id:uuid}", "budgets:write", 204, stranger=404),
    _row("DELETE", "/v1/budgets", "budgets:write", 204, stranger=404),
)

SPELLS: Final = (
    _row("GET", "/v1/spells", OPEN),
    _row("POST", "/v1/spells", "spells:write", 201, json={"name": "fresh"}),
    _row("GET", _SPELL, OPEN),
    _row("PATCH", _SPELL, "spells:write", stranger=403, json={"description": "x"}),
    _row("DELETE", _SPELL, "spells:write", 204, stranger=403),
    _row("GET", f"{_SPELL}/versions", OPEN),
    _row("GET", _VERSION, OPEN),
    # Another module than the one that is there: whoever may publish hears that versions never change.
    _row("PUT", _VERSION, "spells:write", 409, stranger=403, content=b"\0asm\1\0\0\0"),
    _row("GET", f"{_VERSION}/module", "spells:write", stranger=403),
    _row("POST", f"{_VERSION}/yank", "spells:write", stranger=403),
    _row("DELETE", f"{_VERSION}/yank", "spells:write", stranger=403),
    _row("PUT", f"{_VERSION}/price", "spells:write", stranger=403, json={"per_cast_micros": 7}),
    _row("PATCH", _VERSION, "spells:write", stranger=403, json={"deprecation": "use another"}),
)

_HOOK: Final = "/v1/webhooks/{webhook_id:uuid}"
_SEE: Final = ("webhooks:write", "casts:read")
WEBHOOKS: Final = (
    _row("POST", "/v1/webhooks", "webhooks:write", 201, json={"url": "https://example.com/hook"}),
    _row("GET", "/v1/webhooks", _SEE),
    _row("GET", "/v1/webhooks/events", "webhooks:write"),
    _row("GET", "/v1/webhooks/secret", "webhooks:write"),
    _row("GET", _HOOK, _SEE, stranger=404),
    _row("PATCH", _HOOK, "webhooks:write", stranger=404, json={"description": "x"}),
    _row("DELETE", _HOOK, "webhooks:write", 204, stranger=404),
    _row("GET", f"{_HOOK}/secret", "webhooks:write", stranger=404),
    _row("POST", f"{_HOOK}/rotate-secret", "webhooks:write", stranger=404),
    _row("POST", f"{_HOOK}/test", "webhooks:write", 202, stranger=404),
    _row("GET", f"{_HOOK}/deliveries", _SEE, stranger=404),
    _row("POST", f"{_HOOK}/redeliver", "webhooks:write", 202, stranger=404, json={"since": "2026-01-01T00:00:00Z"}),
    _row("POST", f"{_HOOK}/deliveries/{{delivery_id:uuid}}/redeliver", "webhooks:write", 202, stranger=404),
    _row("GET", f"{_ID}/deliveries", _SEE, stranger=404),
    # The delivery is an endpoint's, so that it is not found under a cast.
    _row("POST", f"{_ID}/deliveries/{{delivery_id:uuid}}/redeliver", "webhooks:write", 404, stranger=404),
)

_BILL: Final = ("casts:read", "billing:read")
USAGE: Final = tuple(
    _row("GET", f"{prefix}/usage{path}", _BILL, test_key=200)
    for prefix in ("/v1", "/api")
    for path in ("", "/trends", "/breakdown", "/export")
)

_SEE_BILL: Final = ("billing:read", "billing:write")
_TOP_UP: Final = {"enabled": True, "package": "starter", "threshold": 100, "monthly_cap_cents": 2_000}
CREDITS: Final = (
    *(
        row
        for prefix in ("/v1/credits", "/subscription/credits")
        for row in (
            _row("GET", f"{prefix}/packages", ANY_KEY),
            _row("GET", f"{prefix}/balance", _SEE_BILL),
            _row("GET", f"{prefix}/history", _SEE_BILL),
            _row("POST", f"{prefix}/check", (*_SEE_BILL, "service"), json={"amount": 1}),
            # There are none: 402, to whoever may ask at all.
            _row("POST", f"{prefix}/consume", "service", 402, signed_in=403, json={"amount": 1}),
            _row("PUT", f"{prefix}/auto-topup", "billing:write", json=_TOP_UP),
            # Nothing is sold here: there are no keys of Stripe.
            _row("POST", f"{prefix}/checkout", "billing:write", 404, json={"package": "starter"}),
        )
    ),
    _row("GET", "/v1/credits/orders", _SEE_BILL),
    _row("GET", "/v1/credits/orders/{order_id:uuid}", _SEE_BILL, stranger=404),
)

_INVOICE: Final = "/v1/invoices/{invoice_id:uuid}"
INVOICES: Final = (
    _row("GET", "/v1/invoices", _SEE_BILL),
    _row("GET", "/v1/invoices/upcoming", _SEE_BILL),
    _row("GET", _INVOICE, _SEE_BILL, stranger=404),
    _row("GET", f"{_INVOICE}/casts", _SEE_BILL, stranger=404),
)

EARNINGS: Final = tuple(_row("GET", f"/v1/earnings{path}", _SEE_BILL) for path in ("", "/daily", "/spells", "/export"))

# Nobody can be paid here: there are no keys of Stripe. tests/api/test_payouts.py has them.
PAYOUTS: Final = (
    _row("GET", "/v1/payouts", _SEE_BILL),
    _row("GET", "/v1/payouts/account", _SEE_BILL),
    _row("POST", "/v1/payouts/onboarding", SESSION, 404),
    _row("POST", "/v1/payouts/login-link", SESSION, 404),
)

OPERATORS: Final = (
    _row("POST", "/admin/credits/grants", OPERATOR, 404, json={"handle": "nobody", "credits": 1}),
    # Nobody has paid it.
    _row("POST", "/admin/credits/orders/{order_id:uuid}/refund", OPERATOR, 409, json={}),
    _row("POST", "/admin/payouts/process-monthly", OPERATOR, 422),
    _row("GET", "/admin/payouts/runs/{period:str}", OPERATOR, 404),
    # Billing is off here: whoever may is told so. tests/scheduler/test_billing_runs.py has it on.
    _row("POST", "/admin/billing/process-monthly", OPERATOR, 422),
    _row("GET", "/admin/billing/runs/{period:str}", OPERATOR, 404),
    _row("GET", "/admin/holds", OPERATOR),
    _row("GET", "/admin/queues", OPERATOR),
    _row("GET", "/admin/ledger/trial-balance", OPERATOR),
    _row("GET", "/admin/reconciliation", OPERATOR),
    _row("GET", "/admin/dead-letters", OPERATOR),
    _row("POST", "/admin/dead-letters/{pool:str}/{entry_id:str}/requeue", OPERATOR, 404),
    _row("DELETE", "/admin/dead-letters/{pool:str}/{entry_id:str}", OPERATOR, 404),
    # Nobody paid for it on the table's ground.
    _row("POST", "/admin/casts/{cast_id:uuid}/refund", OPERATOR, 409, json={"reason": "we are sorry"}),
    _row("GET", "/internal/artifacts/{digest:str}", WORKER, 404),
)

# Without keys of Stripe, as here; tests/api/test_stripe_webhook.py and test_billing.py have them.
BILLING: Final = (
    _row("GET", "/v1/plans", OPEN),
    _row("GET", "/v1/billing", ("billing:read", "billing:write")),
    _row("POST", "/v1/billing/checkout", "billing:write", 404),
    _row("POST", "/v1/billing/portal", "billing:write", 404),
    _row("POST", "/v1/billing/change", "billing:write", 404, json={"plan": "pro"}),
    _row("POST", "/v1/billing/cancel", "billing:write", 404),
    _row("POST", "/v1/billing/pause", "billing:write"),
    _row("POST", "/v1/billing/resume", "billing:write"),
    _row("POST", "/webhooks/stripe", PUBLIC, 404),
    _row("POST", "/api/stripe/webhook", PUBLIC, 404),
    _row("POST", "/subscription/webhooks/stripe", PUBLIC, 404),
)

EVERYBODY: Final = (
    _row("GET", "/healthz", PUBLIC),
    _row("GET", "/readyz", PUBLIC),
    _row("GET", "/metrics", PUBLIC),
    _row("GET", "/openapi.json", PUBLIC),
    _row("GET", "/docs/vendor/rapidoc-min.js", PUBLIC),
    _row("GET", "/docs/page.css", PUBLIC),
    _row("GET", "/.well-known/jwks.json", PUBLIC),
    _row("GET", "/docs/errors/{code:str}", PUBLIC),
)

SESSIONS: Final = (
    _row("GET", "/v1/sessions", SESSION),
    _row("DELETE", "/v1/sessions", SESSION),
    _row("DELETE", "/v1/sessions/{session_id:uuid}", SESSION, 204, stranger=404),
    _row("POST", "/auth/logout", SESSION, 204),
    _row("GET", "/v1/audit", SESSION),
    _row("POST", "/auth/device", OPEN, json={"device_name": "laptop"}),
    # Nobody is asked who he is: the code in the body says it, and this one is over.
    _row("POST", "/auth/device/token", PUBLIC, 400, json={"device_code": "x"}),
    # To sign in first, for whoever shows no session.
    _row("GET", "/auth/device", OPEN, 303, signed_in=200),
    _row("POST", "/auth/device/confirm", SESSION, 404, form={"user_code": "BCDF-GHJK", "decision": "approve"}),
)

# Where nothing is set up to sign in with, as here, each says so; tests/api/login has it all set up.
LOGINS: Final = (
    _row("GET", "/login", PUBLIC),
    _row("GET", "/account", OPEN, 303, signed_in=200),
    _row("POST", "/account/sign-out", SESSION, 303),
    _row("GET", "/dashboard/billing", OPEN, 303, signed_in=200),
    _row("POST", "/dashboard/billing/portal", SESSION, 404),
    _row("POST", "/dashboard/billing/subscribe", SESSION, 404),
    _row("GET", "/dashboard/earnings", OPEN, 303, signed_in=200),
    _row("GET", "/dashboard/payouts", OPEN, 303, signed_in=200),
    _row("POST", "/dashboard/payouts/onboarding", SESSION, 404),
    _row("POST", "/dashboard/payouts/stripe", SESSION, 404),
    _row("GET", "/auth/github", PUBLIC, 404),
    _row("GET", "/auth/callback", PUBLIC, 404),
    _row("GET", "/auth/github/callback", PUBLIC, 404),
    _row("GET", "/auth/oidc", PUBLIC, 404),
    _row("GET", "/auth/oidc/callback", PUBLIC, 404),
    _row("POST", "/auth/magic-link", PUBLIC, 422, json={"email": "ada@example.com"}),
    _row("GET", "/auth/verify", PUBLIC, 400),
    _row("POST", "/auth/verify", PUBLIC, 400, json={"token": "x"}),
)

_EXPORT: Final = "/v1/privacy/export/{export_id:uuid}"
PRIVACY: Final = (
    _row("POST", "/v1/privacy/export", SESSION, 202),
    _row("GET", _EXPORT, SESSION, stranger=404),
    _row("GET", f"{_EXPORT}/download", SESSION, stranger=404),
    # Whoever confirms another handle than his own is told so.
    _row("DELETE", "/v1/account", SESSION, 422),
)

ROWS: Final = (
    *CASTS,
    *_keys("/v1"),
    *_keys("/api"),
    *BUDGETS,
    *SPELLS,
    *WEBHOOKS,
    *USAGE,
    *CREDITS,
    *INVOICES,
    *EARNINGS,
    *PAYOUTS,
    *SESSIONS,
    *PRIVACY,
    *LOGINS,
    *BILLING,
    *OPERATORS,
    *EVERYBODY,
)

# What these change is in the audit log of nobody, and why. Every other request that changes something writes one entry.
_ROWS_OF_THEIR_OWN: Final = "each cast is a row that says by which key, when and what became of it"
_SENT: Final = "sends what is written already; each attempt is a row of its own"
_PAGE: Final = "opens a page at Stripe; what somebody does there is written down when Stripe tells of it"
_NEWS: Final = "an event is a row of its own; what is applied of it is written down"
UNAUDITED: Final = {
    ("POST", "/v1/credits/check"): "reads, and changes nothing",
    ("POST", "/subscription/credits/check"): "reads, and changes nothing",
    ("POST", "/admin/billing/process-monthly"): "a run is a row that says when; what it bills is a row of each account",
    ("POST", "/v1/cast"): _ROWS_OF_THEIR_OWN,
    ("POST", "/v1/casts"): _ROWS_OF_THEIR_OWN,
    ("POST", "/v1/casts/batch"): _ROWS_OF_THEIR_OWN,
    ("POST", f"{_ID}/cancel"): _ROWS_OF_THEIR_OWN,
    ("POST", f"{_SPELL}/quote"): "nothing is written: the quote is in the answer, signed",
    ("POST", f"{_HOOK}/test"): _SENT,
    ("POST", f"{_HOOK}/redeliver"): _SENT,
    ("POST", f"{_HOOK}/deliveries/{{delivery_id:uuid}}/redeliver"): _SENT,
    ("POST", f"{_ID}/deliveries/{{delivery_id:uuid}}/redeliver"): _SENT,
    ("POST", "/v1/billing/checkout"): _PAGE,
    ("POST", "/v1/billing/portal"): _PAGE,
    ("POST", "/dashboard/billing/subscribe"): _PAGE,
    ("POST", "/dashboard/billing/portal"): _PAGE,
    ("POST", "/v1/payouts/login-link"): _PAGE,
    ("POST", "/dashboard/payouts/stripe"): _PAGE,
    ("POST", "/admin/payouts/process-monthly"): "a run is a row that says when; what it pays is a row of each creator",
    ("POST", "/v1/billing/resume"): "nothing is paused here; test_billing.py::test_pausing sees its entry",
    ("POST", "/webhooks/stripe"): _NEWS,
    ("POST", "/api/stripe/webhook"): _NEWS,
    ("POST", "/subscription/webhooks/stripe"): _NEWS,
    ("POST", "/auth/device"): "nobody's until somebody lets the program in, which is written down",
    ("POST", "/auth/magic-link"): "a mail to whoever asks for it; the login it may lead to is written down",
}
# The right caller of these is refused on the table's ground; the test that sees them succeed looks at the log as well.
AUDITED_ELSEWHERE: Final = {
    ("POST", "/v1/credits/checkout"): "test_credit_checkout.py::test_orders_are_in_the_log_of_who_made_them",
    ("POST", "/subscription/credits/checkout"): "test_credit_checkout.py::test_orders_are_in_the_log_of_who_made_them",
    ("POST", "/v1/credits/consume"): "test_credits.py::test_what_services_and_operators_do_is_in_the_log",
    ("POST", "/subscription/credits/consume"): "test_credits.py::test_what_services_and_operators_do_is_in_the_log",
    ("POST", "/admin/credits/grants"): "test_credits.py::test_what_services_and_operators_do_is_in_the_log",
    ("POST", "/admin/credits/orders/{order_id:uuid}/refund"): (
        "test_credits.py::test_what_services_and_operators_do_is_in_the_log"
    ),
    ("PUT", _VERSION): "test_audit.py::test_publishing",
    ("POST", "/auth/device/token"): "test_audit.py::test_a_login_of_a_command_line",
    ("POST", "/auth/device/confirm"): "test_audit.py::test_a_login_of_a_command_line",
    ("POST", "/admin/dead-letters/{pool:str}/{entry_id:str}/requeue"): "test_audit.py::test_dead_letters",
    ("DELETE", "/admin/dead-letters/{pool:str}/{entry_id:str}"): "test_audit.py::test_dead_letters",
    ("POST", "/admin/casts/{cast_id:uuid}/refund"): "test_receipts.py::test_a_refund_is_made_once_and_told",
    ("POST", "/v1/payouts/onboarding"): "test_payouts.py::test_a_creator_is_onboarded_once_whoever_asks",
    ("POST", "/dashboard/payouts/onboarding"): "test_payouts.py::test_the_page_leads_to_stripe_and_shows_what_came",
    ("POST", "/v1/billing/change"): "test_billing.py::test_changing_the_plan",
    ("POST", "/v1/billing/cancel"): "test_billing.py::test_canceling_and_thinking_again",
    ("POST", "/auth/verify"): "test_login_mail.py::test_a_first_login_and_a_second_are_in_the_log",
    ("DELETE", "/v1/account"): "test_erasure.py::test_an_erased_account_is_nobodys",
}
