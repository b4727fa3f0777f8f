"""Plans over HTTP: subscribe, change, cancel, pause, fail to pay and pay after all, at the stand-in for Stripe."""

import secrets
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.servers import Servers
from local.stripe.fake import PRICE_ENTERPRISE, PRICE_PRO, FakeStripe
from tests.api.paying import end_graces, follow, run_shop
from tests.api.platform import Account, Api, Rows, run_api

SCOPES = ["billing:read", "billing:write", "casts:write", "casts:read"]
BAD_CARD = "pm_card_chargeCustomerFail"
MONTH_S = 32 * 86_400
Shop = tuple[Api, FakeStripe]


@pytest.fixture(scope="module")
def shop(api_database_url: str, servers: Servers, rows: Rows, folder: Path) -> Generator[Shop]:
    del rows
    settings = {"FREE_TIER_RUNS_LIMIT": "0", "PUBLIC_URL": "https://spell.example"}
    with run_shop(api_database_url, servers.redis_url, folder, **settings) as both:
        yield both


@pytest.fixture
def customer(rows: Rows) -> Account:
    return billed(rows)


def billed(rows: Rows, *scopes: str) -> Account:
    """Make an account that is billed, with a key and a user."""
    account = rows.account(billing="on", plan="free")
    rows.session(account)
    scopes = scopes or tuple(SCOPES)
    rows.execute("UPDATE api_keys SET scopes = %(s)s WHERE id = %(id)s", {"s": list(scopes), "id": account.key_id})
    return account


def post(api: Api, account: Account, path: str, json: Any = None, key: str | None = None) -> httpx.Response:
    headers = account.headers if key is None else {**account.headers, "idempotency-key": key}
    return api.http.post(f"/v1/billing/{path}", json=json, headers=headers)


def show(api: Api, account: Account) -> dict[str, Any]:
    answer = api.http.get("/v1/billing", headers=account.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cast(api: Api, rows: Rows, account: Account) -> tuple[int, str | None]:
    body = {"spell": rows.spell(account, f"s{secrets.token_hex(6)}"), "input": 1}
    answer = api.http.post("/v1/casts", json=body, headers=account.headers)
    return answer.status_code, answer.json().get("error")


def session_of(stripe: FakeStripe, answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    (session,) = [one for one in stripe.sessions() if one["url"] == answer.json()["url"]]
    return str(session["id"])


def subscribe(shop: Shop, database_url: str, account: Account, plan: str = "pro") -> str:
    """Subscribe, and return the customer's id."""
    api, stripe = shop
    session = stripe.pay(session_of(stripe, post(api, account, "checkout", {"plan": plan})))
    follow(database_url, stripe)
    return str(session["customer"])


def mails(rows: Rows, account: Account) -> list[str]:
    query = "SELECT event_type FROM outgoing WHERE kind = 'mail' AND account_id = %(id)s ORDER BY created_at"
    return [row[0] for row in rows.execute(query, {"id": account.id})]


def test_what_is_for_sale(shop: Shop) -> None:
    api, _ = shop
    plans = {plan["id"]: plan for plan in api.http.get("/v1/plans").json()["data"]}
    assert {name: (plan["monthly_cents"], plan["metered"], plan["available"]) for name, plan in plans.items()} == {
        "free": (0, False, False),
        "pro": (1_999, True, True),
        "enterprise": (9_999, True, True),
    }
    assert (plans["pro"]["interval"], plans["pro"]["per_cast_micros"]) == ("month", 1_000)


def test_subscribing(shop: Shop, api_database_url: str, rows: Rows, customer: Account) -> None:
    api, stripe = shop
    before = show(api, customer)
    assert (before["plan"], before["status"], before["metered"]) == ("free", "none", False)
    assert cast(api, rows, customer) == (402, "free_tier_exhausted")
    session_id = session_of(stripe, post(api, customer, "checkout"))
    follow(api_database_url, stripe)
    assert show(api, customer)["status"] == "none", "a page that is open is no subscription"
    paid = stripe.pay(session_id)
    assert cast(api, rows, customer) == (402, "free_tier_exhausted")
    follow(api_database_url, stripe)
    after = show(api, customer)
    assert (after["plan"], after["status"], after["metered"]) == ("pro", "active", True)
    assert cast(api, rows, customer)[0] == 202
    assert (paid["client_reference_id"], paid["metadata"]) == (
        str(customer.id),
        {"account_id": str(customer.id), "plan": "pro"},
    )
    assert paid["success_url"] == "https://spell.example/dashboard/billing?checkout=success"
    (made,) = stripe.customers(id=paid["customer"])
    assert (made["email"], made["metadata"]) == (f"{customer.handle}@example.com", {"account_id": str(customer.id)})
    assert audited(rows, customer)[-1] == ("platform", "pro", None)


def test_an_idempotency_key_opens_one_page(shop: Shop, customer: Account) -> None:
    api, stripe = shop
    first = post(api, customer, "checkout", {"plan": "pro"}, key="k1")
    again = post(api, customer, "checkout", {"plan": "pro"}, key="k1")
    assert first.json() == again.json()
    assert len(stripe.sessions(client_reference_id=str(customer.id))) == 1
    assert len(stripe.customers(metadata={"account_id": str(customer.id)})) == 1


def test_one_page_is_open_at_a_time(shop: Shop, customer: Account) -> None:
    api, stripe = shop
    first = session_of(stripe, post(api, customer, "checkout"))
    second = session_of(stripe, post(api, customer, "checkout", {"plan": "enterprise"}))
    assert [stripe.object(one)["status"] for one in (first, second)] == ["expired", "open"]


def test_a_page_that_was_just_paid_is_not_followed_by_another(
    shop: Shop, api_database_url: str, customer: Account
) -> None:
    api, stripe = shop
    stripe.pay(session_of(stripe, post(api, customer, "checkout")))
    answer = post(api, customer, "checkout")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    statuses = [one["status"] for one in stripe.sessions(client_reference_id=str(customer.id))]
    assert sorted(statuses) == ["complete", "expired"]
    follow(api_database_url, stripe)
    answer = post(api, customer, "checkout")
    assert (answer.status_code, "change" in answer.json()["detail"]) == (409, True)


def audited(rows: Rows, account: Account) -> list[tuple[str, str, str | None]]:
    """Return who changed how the account pays, and what it was then."""
    query = "SELECT actor_kind, after FROM audit_log WHERE account_id = %(id)s AND target_kind = 'billing' ORDER BY at"
    return [(kind, after["plan"], after["ends_at"]) for kind, after in rows.execute(query, {"id": account.id})]


def test_changing_the_plan(shop: Shop, api_database_url: str, rows: Rows, customer: Account) -> None:
    api, stripe = shop
    payer = subscribe(shop, api_database_url, customer)
    answer = post(api, customer, "change", {"plan": "enterprise"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["plan"], answer.json()["status"]) == ("enterprise", "active")
    (subscription,) = stripe.subscriptions(customer=payer)
    assert subscription["items"]["data"][0]["price"]["id"] == PRICE_ENTERPRISE
    prorated = [item["amount"] for item in stripe.objects("invoiceitem", customer=payer)]
    assert sorted(amount > 0 for amount in prorated) == [False, True], "Stripe credits the one and bills the other"
    follow(api_database_url, stripe)
    assert show(api, customer)["plan"] == "enterprise"
    assert audited(rows, customer)[-1] == ("key", "enterprise", None)


def test_canceling_and_thinking_again(shop: Shop, api_database_url: str, rows: Rows, customer: Account) -> None:
    api, stripe = shop
    payer = subscribe(shop, api_database_url, customer)
    canceled = post(api, customer, "cancel").json()
    assert (canceled["plan"], canceled["cancel_at_period_end"]) == ("pro", True)
    assert canceled["ends_at"] == canceled["current_period_end"]
    assert [kind for kind, _, _ in audited(rows, customer)] == ["platform", "key"]
    assert audited(rows, customer)[-1][2] == canceled["ends_at"]
    assert cast(api, rows, customer)[0] == 202
    kept = post(api, customer, "change", {"plan": "pro"}).json()
    assert (kept["cancel_at_period_end"], kept["ends_at"]) == (False, None)
    (subscription,) = stripe.subscriptions(customer=payer)
    assert (subscription["cancel_at_period_end"], subscription["items"]["data"][0]["price"]["id"]) == (
        False,
        PRICE_PRO,
    )
    post(api, customer, "cancel")
    stripe.advance(MONTH_S)
    follow(api_database_url, stripe)
    after = show(api, customer)
    assert (after["plan"], after["status"], after["metered"]) == ("free", "canceled", False)
    assert cast(api, rows, customer) == (402, "free_tier_exhausted")
    assert subscribe(shop, api_database_url, customer) == payer, "a customer who comes back is the same one"


def test_a_payment_fails_and_comes_after_all(shop: Shop, api_database_url: str, rows: Rows, customer: Account) -> None:
    api, stripe = shop
    payer = subscribe(shop, api_database_url, customer)
    (subscription,) = stripe.subscriptions(customer=payer)
    stripe.give_card(payer, BAD_CARD)
    _pay_with(stripe, str(subscription["id"]), payer)
    stripe.advance(MONTH_S)
    follow(api_database_url, stripe)
    failing = show(api, customer)
    assert (failing["status"], failing["payment_overdue"], failing["metered"]) == ("past_due", True, True)
    assert cast(api, rows, customer)[0] == 202
    now = datetime.now(UTC)
    assert end_graces(api_database_url, now) == 0
    assert end_graces(api_database_url, now + timedelta(days=8)) >= 1
    assert cast(api, rows, customer) == (402, "payment_required")
    rows.execute(
        "INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros)"
        " VALUES (gen_random_uuid(), %(id)s, 2500, 2500)",
        {"id": customer.id},
    )
    assert cast(api, rows, customer)[0] == 202, "credits go on"
    stripe.give_card(payer)
    _pay_with(stripe, str(subscription["id"]), payer)
    stripe.advance(3 * 86_400)
    follow(api_database_url, stripe)
    paid = show(api, customer)
    assert (paid["status"], paid["payment_overdue"], paid["metered"]) == ("active", False, True)
    assert cast(api, rows, customer)[0] == 202
    assert mails(rows, customer) == ["billing.payment_failed", "billing.grace_ended", "billing.restored"]


def _pay_with(stripe: FakeStripe, subscription_id: str, payer: str) -> None:
    """Let the subscription be paid with the customer's default card, as after a visit to the portal."""
    method = stripe.object(payer)["invoice_settings"]["default_payment_method"]
    with httpx.Client(base_url=stripe.url, auth=(stripe.secret_key, "")) as http:
        answer = http.post(f"/v1/subscriptions/{subscription_id}", data={"default_payment_method": method})
        assert answer.status_code == 200, answer.text


def test_pausing(shop: Shop, api_database_url: str, rows: Rows, customer: Account) -> None:
    api, _ = shop
    subscribe(shop, api_database_url, customer)
    for _ in range(2):
        assert post(api, customer, "pause").json()["spend_paused"] is True
    assert cast(api, rows, customer) == (402, "spend_paused")
    for _ in range(2):
        assert post(api, customer, "resume").json()["spend_paused"] is False
    assert cast(api, rows, customer)[0] == 202
    entries = "SELECT action FROM audit_log WHERE account_id = %(id)s AND target_kind = 'spending' ORDER BY at"
    assert [row[0] for row in rows.execute(entries, {"id": customer.id})] == ["spending.pause", "spending.resume"]


@pytest.mark.parametrize("path", ["change", "cancel"])
def test_there_is_nothing_to_change(shop: Shop, customer: Account, path: str) -> None:
    api, _ = shop
    answer = post(api, customer, path, {"plan": "pro"} if path == "change" else None)
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


def test_a_customer_deleted_by_hand_is_made_anew(shop: Shop, api_database_url: str, customer: Account) -> None:
    api, stripe = shop
    session_of(stripe, post(api, customer, "checkout"))
    (first,) = stripe.customers(metadata={"account_id": str(customer.id)})
    with httpx.Client(base_url=stripe.url, auth=(stripe.secret_key, "")) as http:
        assert http.delete(f"/v1/customers/{first['id']}").status_code == 200
    assert subscribe(shop, api_database_url, customer) != first["id"]
    assert show(api, customer)["plan"] == "pro"


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [("rate_limit", 503, "provider_unavailable"), ("error", 503, "provider_unavailable"),
     ("reset", 503, "provider_unavailable"), ("reset_after", 503, "provider_unavailable")],
)  # fmt: skip
def test_stripe_does_not_answer_and_the_same_request_again_does(
    shop: Shop, customer: Account, fault: str, status: int, error: str
) -> None:
    api, stripe = shop
    try:
        stripe.fail(fault, path="/v1/checkout")
        answer = post(api, customer, "checkout", key="once")
        assert (answer.status_code, answer.json()["error"], answer.json()["retryable"]) == (status, error, True)
        assert int(answer.headers["retry-after"]) >= 1
        assert stripe.secret_key not in answer.text
    finally:
        stripe.heal()
    assert cast_goes_on(api, customer)
    again = post(api, customer, "checkout", key="once" if fault != "error" else "twice")
    assert again.status_code == 200
    assert len(stripe.sessions(client_reference_id=str(customer.id), status="open")) == 1


def cast_goes_on(api: Api, customer: Account) -> bool:
    """Casts are refused for money here, and not because of Stripe."""
    answer = api.http.post("/v1/casts", json={"spell": "no/such", "input": 1}, headers=customer.headers)
    return answer.status_code == 404


def test_a_key_needs_the_scope_and_sees_no_other_account(shop: Shop, rows: Rows) -> None:
    api, _ = shop
    reader, caster = billed(rows, "billing:read"), billed(rows, "casts:write")
    assert show(api, reader)["plan"] == "free"
    assert post(api, reader, "pause").status_code == 403
    assert api.http.get("/v1/billing", headers=caster.headers).status_code == 403


def test_bodies_that_do_not_fit(shop: Shop, customer: Account) -> None:
    api, _ = shop
    for path, body in (("checkout", {"plan": "free"}), ("checkout", {"price": 1}), ("change", {}), ("change", None)):
        assert post(api, customer, path, body).status_code in {400, 422}


def test_without_keys_of_stripe_all_else_works(
    api_database_url: str, servers: Servers, folder: Path, rows: Rows
) -> None:
    account = billed(rows)
    rows.execute("UPDATE accounts SET billing = 'auto' WHERE id = %(id)s", {"id": account.id})
    with run_api(api_database_url, servers.redis_url, folder) as api:
        for path in ("checkout", "portal", "cancel"):
            answer = post(api, account, path)
            assert (answer.status_code, answer.json()["error"], answer.json()["retryable"]) == (
                404,
                "billing_off",
                False,
            )
        assert post(api, account, "change", {"plan": "pro"}).json()["error"] == "billing_off"
        view = show(api, account)
        assert (view["billing_enabled"], view["metered"]) == (False, True)
        assert [plan["available"] for plan in api.http.get("/v1/plans").json()["data"]] == [False] * 3
        assert post(api, account, "pause").status_code == 200
        assert cast(api, rows, account) == (402, "spend_paused")
        assert post(api, account, "resume").status_code == 200
        assert cast(api, rows, account)[0] == 202
