from typing import Any

import httpx
import pytest

from tests.api.platform import Account, Api, Rows

FEE = 2_500  # held by a cast with the default fuel limit


@pytest.fixture
def account(rows: Rows) -> Account:
    return rows.account()


def grant(rows: Rows, account: Account, *scopes: str) -> None:
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || %(scopes)s WHERE id = %(id)s",
        {"scopes": list(scopes), "id": account.key_id},
    )


def make(api: Api, account: Account, body: dict[str, Any]) -> httpx.Response:
    return api.http.post("/v1/budgets", json=body, headers=account.headers)


def cast(api: Api, account: Account, reference: str) -> httpx.Response:
    return api.http.post("/v1/casts", json={"spell": reference, "input": 1}, headers=account.headers)


def test_the_base_products_round(api: Api, rows: Rows, account: Account) -> None:
    grant(rows, account, "budgets:write")
    empty = api.http.get("/v1/budgets", headers=account.headers).json()
    assert (empty["period"], empty["hard_limit_cents"], empty["current_cents"], empty["data"]) == (
        "monthly",
        None,
        0,
        [],
    )
    made = make(api, account, {"period": "monthly", "soft_limit_cents": 50, "hard_limit_cents": 100})
    assert made.status_code == 201
    body = made.json()
    assert (body["scope"], body["period"], body["soft_limit_cents"], body["hard_limit_cents"]) == (
        "account",
        "monthly",
        50,
        100,
    )
    assert (body["hard_limit_micros"], body["remaining_micros"], body["current_cents"]) == (1_000_000, 1_000_000, 0)
    again = make(api, account, {"period": "monthly", "hard_limit_cents": 1})
    assert (again.status_code, again.json()["error"]) == (409, "conflict")
    changed = api.http.put("/v1/budgets", json={"hard_limit_cents": 200}, headers=account.headers)
    assert (changed.status_code, changed.json()["hard_limit_cents"], changed.json()["soft_limit_cents"]) == (
        200,
        200,
        None,
    )
    shown = api.http.get("/v1/budgets", headers=account.headers).json()
    assert (shown["id"], shown["hard_limit_cents"]) == (body["id"], 200)
    usage = api.http.get("/v1/budgets/usage", headers=account.headers).json()
    assert (usage["period"], usage["current_cents"], len(usage["data"])) == ("monthly", 0, 1)
    assert api.http.get(f"/v1/budgets/{body['id']}", headers=account.headers).json()["id"] == body["id"]
    assert api.http.delete("/v1/budgets", headers=account.headers).status_code == 204
    assert api.http.delete("/v1/budgets", headers=account.headers).status_code == 404
    assert api.http.get(f"/v1/budgets/{body['id']}", headers=account.headers).status_code == 404


def test_put_without_an_id_makes_the_accounts_own(api: Api, account: Account) -> None:
    made = api.http.put("/v1/budgets", json={"period": "daily", "hard_limit_cents": 7}, headers=account.headers)
    assert (made.status_code, made.json()["period"]) == (201, "daily")


def test_a_budget_in_the_middle_of_its_period_counts_what_is_open(api: Api, rows: Rows, account: Account) -> None:
    reference = rows.spell(account, "noop")
    for _ in range(2):
        assert cast(api, account, reference).status_code == 202
    made = make(api, account, {"hard_limit_cents": 1}).json()
    assert (made["held_micros"], made["current_cents"], made["remaining_micros"]) == (2 * FEE, 1, 10_000 - 2 * FEE)
    assert [cast(api, account, reference).status_code for _ in range(3)] == [202, 202, 402]
    refused = cast(api, account, reference).json()
    assert (refused["error"], refused["limit_cents"], refused["current_cents"]) == ("budget_exceeded", 1, 1)
    assert refused["limit"]["id"] == made["id"]
    holds = api.http.get("/v1/holds?limit=3", headers=account.headers)
    body = holds.json()
    assert (body["open_casts"], body["held_micros"], len(body["data"]), body["has_more"]) == (4, 4 * FEE, 3, True)
    assert body["data"][0]["age_ms"] >= 0
    rest = api.http.get(holds.links["next"]["url"], headers=account.headers).json()
    assert (len(rest["data"]), rest["has_more"]) == (1, False)
    assert not {hold["cast_id"] for hold in rest["data"]} & {hold["cast_id"] for hold in body["data"]}


def test_any_key_lowers_but_only_one_with_the_scope_raises_or_deletes(api: Api, rows: Rows, account: Account) -> None:
    made = make(api, account, {"hard_limit_cents": 10}).json()
    url = f"/v1/budgets/{made['id']}"

    def put(cents: int | None) -> int:
        return api.http.put(url, json={"hard_limit_cents": cents}, headers=account.headers).status_code

    assert put(9) == 200
    assert put(10) == 403
    assert put(None) == 422
    assert api.http.delete(url, headers=account.headers).status_code == 403
    powerful = rows.key(account.id, account.handle)
    grant(rows, powerful, "budgets:write")
    assert api.http.put(url, json={"hard_limit_cents": 99}, headers=powerful.headers).status_code == 200
    assert (
        api.http.put(url, json={"period": "daily", "hard_limit_cents": 9}, headers=powerful.headers).status_code == 422
    )
    assert api.http.delete(url, headers=powerful.headers).status_code == 204


def test_strangers_find_nothing(api: Api, rows: Rows, account: Account) -> None:
    made = make(api, account, {"hard_limit_cents": 10}).json()
    stranger = rows.account()
    grant(rows, stranger, "budgets:write")
    url = f"/v1/budgets/{made['id']}"
    assert api.http.get(url, headers=stranger.headers).status_code == 404
    assert api.http.put(url, json={"hard_limit_cents": 1}, headers=stranger.headers).status_code == 404
    assert api.http.delete(url, headers=stranger.headers).status_code == 404
    assert api.http.get("/v1/holds", headers=stranger.headers).json()["open_casts"] == 0
    for scope in ("key", "account"):
        answer = make(api, stranger, {"scope": scope, "scope_id": str(account.key_id), "hard_limit_cents": 1})
        assert answer.status_code == 404
    assert api.http.get("/v1/budgets").status_code == 401


def test_what_does_not_fit_is_named(api: Api, account: Account) -> None:
    for body, place in (
        ({}, "hard_limit_cents"),
        ({"hard_limit_cents": -1}, "hard_limit_cents"),
        ({"hard_limit_cents": 10**11}, "hard_limit_cents"),
        ({"hard_limit_cents": 1.5}, "hard_limit_cents"),
        ({"hard_limit_cents": 1, "soft_limit_cents": 2}, "soft_limit_cents"),
        ({"hard_limit_cents": 1, "period": "weekly"}, "period"),
        ({"hard_limit_cents": 1, "scope": "key"}, "scope_id"),
        ({"hard_limit_cents": 1, "limit": 2}, "limit"),
    ):
        answer = make(api, account, body)
        assert answer.status_code == 422, body
        assert place in str(answer.json()["errors"]), answer.json()


def test_an_idempotent_call_makes_one_budget(api: Api, account: Account) -> None:
    headers = {**account.headers, "idempotency-key": "budget-1"}
    first = api.http.post("/v1/budgets", json={"hard_limit_cents": 5}, headers=headers)
    again = api.http.post("/v1/budgets", json={"hard_limit_cents": 5}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
