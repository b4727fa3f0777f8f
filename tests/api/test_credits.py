"""Credits over HTTP: what an account sees, what services take, what the operator gives."""

import threading
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain.model.key_rules import KeyScope
from tests.api.platform import ADMIN_SECRET, Account, Api, Rows

ADMIN = {"x-admin-secret": ADMIN_SECRET}
PACKAGES = [("starter", 1_000, 999), ("writer", 5_000, 3_999), ("author", 15_000, 9_999), ("publisher", 50_000, 29_999)]
CREDIT = 10_000


def with_scopes(rows: Rows, account: Account, *scopes: str) -> dict[str, str]:
    key = rows.key(account.id, account.handle)
    rows.execute(
        "UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s", {"scopes": list(scopes), "id": key.key_id}
    )
    return key.headers


def give(api: Api, account: Account, amount: int, **more: Any) -> dict[str, Any]:
    body = {"handle": account.handle, "credits": amount, **more}
    answer = api.http.post("/admin/credits/grants", json=body, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def payer(rows: Rows, account: Account) -> dict[str, str]:
    return with_scopes(rows, account, KeyScope.BILLING_READ, KeyScope.BILLING_WRITE)


@pytest.fixture
def service(rows: Rows) -> dict[str, str]:
    """A service of the operator's, with an account of its own."""
    return with_scopes(rows, rows.account(), KeyScope.SERVICE)


def balance(api: Api, headers: Mapping[str, str]) -> dict[str, Any]:
    answer = api.http.get("/v1/credits/balance", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def consume(api: Api, headers: Mapping[str, str], body: Mapping[str, Any], key: str | None = None) -> httpx.Response:
    more = {} if key is None else {"idempotency-key": key}
    return api.http.post("/subscription/credits/consume", json=body, headers={**headers, **more})


@pytest.mark.parametrize("prefix", ["/v1/credits", "/subscription/credits"])
def test_the_four_packages_are_for_sale(api: Api, account: Account, prefix: str) -> None:
    found = api.http.get(f"{prefix}/packages", headers=account.headers).json()["packages"]
    assert [(one["id"], one["credits"], one["price_cents"]) for one in found] == PACKAGES
    assert {one["currency"] for one in found} == {"usd"}
    assert found[0] == {
        "id": "starter", "name": "Starter", "credits": 1_000, "price_cents": 999, "currency": "usd",
        "usage_micros": 10_000_000,
    }  # fmt: skip


@pytest.mark.parametrize("prefix", ["/v1/credits", "/subscription/credits"])
def test_balance_and_history_have_the_fields_authorworks_had(
    api: Api, rows: Rows, account: Account, payer: dict[str, str], service: dict[str, str], prefix: str
) -> None:
    user = rows.session(account)
    give(api, account, 250, reason="welcome")
    body = {"user_id": str(user.user_id), "amount": 30, "reason": "chapter", "reference_id": "7", "reference_type": "c"}
    assert consume(api, service, body).status_code == 200
    found = api.http.get(f"{prefix}/balance", headers=payer).json()
    wanted = {"user_id": str(user.user_id), "balance": 220, "total_purchased": 0, "total_consumed": 30}
    assert {name: found[name] for name in wanted} == wanted
    assert (found["balance_micros"], found["available"], found["held"]) == (2_200_000, 220, 0)
    page = api.http.get(f"{prefix}/history", headers=payer).json()
    assert page["count"] == 2
    assert page["data"] == page["transactions"]
    newest, first = page["transactions"]
    told = {name: newest[name] for name in ("amount", "balance_before", "balance_after", "transaction_type", "reason")}
    assert told == {
        "amount": -30, "balance_before": 250, "balance_after": 220, "transaction_type": "consume", "reason": "chapter",
    }  # fmt: skip
    assert (newest["reference_id"], newest["reference_type"]) == ("7", "c")
    assert newest["created_at"].endswith("Z")
    assert (first["transaction_type"], first["amount"], first["reason"]) == ("grant", 250, "welcome")


def test_history_comes_in_pages_that_miss_and_repeat_nothing(
    api: Api, rows: Rows, account: Account, payer: dict[str, str]
) -> None:
    for number in range(1, 8):
        give(api, account, number)
    found: list[int] = []
    answer = api.http.get("/v1/credits/history?limit=3", headers=payer)
    while True:
        page = answer.json()
        found += [one["amount"] for one in page["data"]]
        if not page["has_more"]:
            break
        assert answer.links["next"]["url"].endswith(f"cursor={page['next_cursor'].replace('=', '%3D')}")
        answer = api.http.get(answer.links["next"]["url"], headers=payer)
    assert found == [7, 6, 5, 4, 3, 2, 1]
    middle = api.http.get("/v1/credits/history?limit=3", headers=payer).json()["data"][2]["created_at"]
    older = api.http.get("/v1/credits/history", params={"created_before": middle}, headers=payer).json()
    newer = api.http.get("/v1/credits/history", params={"created_after": middle}, headers=payer).json()
    assert [len(page["data"]) for page in (older, newer)] == [4, 3]
    assert api.http.get("/v1/credits/history?cursor=x", headers=payer).status_code == 422
    assert rows.execute("SELECT 1") == [(1,)]


def test_consume_takes_all_or_answers_402(
    api: Api, account: Account, payer: dict[str, str], service: dict[str, str]
) -> None:
    give(api, account, 100)
    mine = {"user_id": str(account.id)}
    refused = consume(api, service, {**mine, "amount": 101})
    assert refused.status_code == 402
    problem = refused.json()
    assert (problem["error"], problem["retryable"], problem["status"]) == ("insufficient_credits", False, 402)
    assert balance(api, payer)["balance"] == 100
    assert consume(api, service, {**mine, "amount": 100}).json()["balance_after"] == 0
    assert consume(api, service, {**mine, "amount": 1}).status_code == 402


def test_a_consume_that_is_repeated_takes_once_however_many_at_a_time(
    api: Api, account: Account, payer: dict[str, str], service: dict[str, str]
) -> None:
    give(api, account, 100)
    body = {"user_id": str(account.id), "amount": 10, "reason": "x"}
    barrier = threading.Barrier(8)
    found: list[httpx.Response] = []

    def one() -> None:
        barrier.wait()
        found.append(consume(api, service, body, key="job-1"))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in found} == {200}
    assert sorted("idempotent-replayed" in answer.headers for answer in found) == [False] + [True] * 7
    assert len({answer.text for answer in found}) == 1
    assert balance(api, payer)["balance"] == 90
    reused = consume(api, service, {**body, "amount": 11}, key="job-1")
    assert (reused.status_code, reused.json()["error"]) == (422, "idempotency_key_reused")


def test_check_tells_and_takes_nothing(
    api: Api, account: Account, payer: dict[str, str], service: dict[str, str]
) -> None:
    give(api, account, 100)
    for headers, body in ((payer, {}), (service, {"user_id": str(account.id)})):
        enough = api.http.post("/v1/credits/check", json={"amount": 100, **body}, headers=headers)
        assert enough.json() == {"sufficient": True, "required": 100, "balance": 100, "available": 100, "missing": 0}
        short = api.http.post("/subscription/credits/check", json={"amount": 130, **body}, headers=headers)
        assert (short.status_code, short.json()["sufficient"], short.json()["missing"]) == (200, False, 30)
    assert balance(api, payer)["balance"] == 100


def test_only_services_ask_about_others(
    api: Api, rows: Rows, account: Account, payer: dict[str, str], service: dict[str, str]
) -> None:
    other = rows.account()
    foreign = {"amount": 1, "user_id": str(other.id)}
    assert api.http.post("/v1/credits/check", json=foreign, headers=payer).status_code == 403
    nobody = {"amount": 1, "user_id": str(uuid4())}
    assert api.http.post("/v1/credits/check", json=nobody, headers=payer).status_code == 403, "nor who there is"
    assert api.http.post("/v1/credits/check", json=nobody, headers=service).status_code == 404
    assert consume(api, service, nobody).status_code == 404
    own = {"amount": 1, "user_id": str(account.id)}
    assert api.http.post("/v1/credits/check", json=own, headers=payer).status_code == 200
    session = rows.session(account)
    assert api.http.post("/v1/credits/check", json=foreign, headers=session.headers).status_code == 403
    assert consume(api, session.headers, own).status_code == 403


@pytest.mark.parametrize(
    ("body", "place"),
    [({"amount": 0}, "amount"), ({"amount": -5}, "amount"), ({"amount": 1.5}, "amount"), ({}, "amount"),
     ({"amount": 10**14}, "amount"), ({"amount": 1, "reference_id": "7"}, "reference_type"),
     ({"amount": 1, "reference_type": "c"}, "reference_id"), ({"amount": 1, "reson": "x"}, "reson")],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_its_place(
    api: Api, service: dict[str, str], body: dict[str, Any], place: str
) -> None:
    answer = consume(api, service, body)
    assert answer.status_code == 422, answer.text
    assert place in answer.text


def test_top_up_is_off_until_it_is_set(api: Api, account: Account, payer: dict[str, str]) -> None:
    assert balance(api, payer)["auto_top_up"] is None
    wanted = {"enabled": True, "package": "writer", "threshold": 500, "monthly_cap_cents": 10_000}
    for path in ("/v1/credits/auto-topup", "/subscription/credits/auto-topup"):
        assert api.http.put(path, json=wanted, headers=payer).json() == {**wanted, "paused_at": None}
    assert balance(api, payer)["auto_top_up"] == {**wanted, "paused_at": None}
    off = {**wanted, "enabled": False}
    assert api.http.put("/v1/credits/auto-topup", json=off, headers=payer).json()["enabled"] is False
    for change, place in (({"threshold": 5_000}, "threshold"), ({"monthly_cap_cents": 3_998}, "monthly_cap_cents"),
                          ({"package": "huge"}, "package")):  # fmt: skip
        refused = api.http.put("/v1/credits/auto-topup", json={**wanted, **change}, headers=payer)
        assert (refused.status_code, refused.json()["errors"][0]["location"]) == (422, place)
    assert account.handle


def test_given_credits_fund_casts_and_what_is_held_is_shown(
    api: Api, rows: Rows, account: Account, payer: dict[str, str]
) -> None:
    """A plan without a subscription: credits are all there is."""
    rows.execute("UPDATE accounts SET billing = 'on', plan = 'free' WHERE id = %(id)s", {"id": account.id})
    spell = rows.spell(account, "mine")
    give(api, account, 1)
    casts = []
    for number in range(105):
        answer = api.http.post("/v1/casts", json={"spell": spell, "input": number}, headers=account.headers)
        if answer.status_code == 402:
            assert answer.json()["error"] == "insufficient_credits"
            break
        casts.append(answer.json())
    funded = [cast for cast in casts if cast["cost"]["funding"] == "credits"]
    assert len(funded) == 10_000 // 2_500
    found = balance(api, payer)
    assert (found["balance"], found["held"], found["available"]) == (1, 1, 0)
    assert (found["balance_micros"], found["held_micros"], found["available_micros"]) == (10_000, 10_000, 0)


def test_a_grant_is_given_once_and_by_the_operator_alone(
    api: Api, rows: Rows, account: Account, payer: dict[str, str]
) -> None:
    body = {"handle": account.handle, "credits": 5, "priority": 7, "expires_at": "2099-01-01T00:00:00Z"}
    once = {**ADMIN, "idempotency-key": "g1"}
    made = [api.http.post("/admin/credits/grants", json=body, headers=once).json() for _ in range(2)]
    assert made[0] == made[1]
    assert (made[0]["credits"], made[0]["priority"]) == (5, 7)
    assert balance(api, payer)["balance"] == 5
    assert api.http.post("/admin/credits/grants", json=body, headers=payer).status_code == 403
    nobody = api.http.post("/admin/credits/grants", json={**body, "handle": "nobody"}, headers=ADMIN)
    assert nobody.status_code == 404
    past = api.http.post("/admin/credits/grants", json={**body, "expires_at": "2020-01-01T00:00:00Z"}, headers=ADMIN)
    assert (past.status_code, past.json()["errors"][0]["location"]) == (422, "expires_at")
    assert rows.execute("SELECT 1") == [(1,)]


def test_what_services_and_operators_do_is_in_the_log(
    api: Api, rows: Rows, account: Account, service: dict[str, str]
) -> None:
    give(api, account, 100)
    assert consume(api, service, {"user_id": str(account.id), "amount": 10, "reason": "x"}).status_code == 200
    paid = {"id": uuid4(), "grant": uuid4(), "account": account.id, "payment": f"pi_{account.handle}"}
    rows.execute(
        "INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros, status,"
        " stripe_payment, created_at, granted_at) VALUES (%(id)s, %(account)s, 'checkout', 'starter', 1000, 9990000,"
        " 10000000, 'completed', %(payment)s, now(), now())",
        paid,
    )
    rows.execute(
        "INSERT INTO credit_grants (id, account_id, granted_micros, balance_micros, order_id)"
        " VALUES (%(grant)s, %(account)s, 10000000, 10000000, %(id)s)",
        paid,
    )
    refund = f"/admin/credits/orders/{paid['id']}/refund"
    once = {**ADMIN, "idempotency-key": "r1"}
    answers = [api.http.post(refund, json={"credits": 500}, headers=once) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["money_micros"] == 4_990_000
    log = rows.execute(
        "SELECT action, actor_kind FROM audit_log WHERE account_id = %(id)s ORDER BY id", {"id": account.id}
    )
    assert log == [("credits.grant", "admin"), ("credits.consume", "key"), ("credit_order.refund", "admin")]


def test_orders_are_seen_by_their_owner_alone(api: Api, rows: Rows, account: Account, payer: dict[str, str]) -> None:
    order_id = uuid4()
    rows.execute(
        "INSERT INTO credit_orders (id, account_id, origin, package_id, credits, price_micros, granted_micros,"
        " created_at) VALUES (%(id)s, %(account)s, 'checkout', 'starter', 1000, 9990000, 10000000, now())",
        {"id": order_id, "account": account.id},
    )
    (found,) = api.http.get("/v1/credits/orders", headers=payer).json()["data"]
    assert found == api.http.get(f"/v1/credits/orders/{order_id}", headers=payer).json()
    assert (found["id"], found["status"], found["price_cents"]) == (str(order_id), "pending", 999)
    other = with_scopes(rows, rows.account(), KeyScope.BILLING_READ)
    assert api.http.get(f"/v1/credits/orders/{order_id}", headers=other).status_code == 404
