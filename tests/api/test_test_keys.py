"""Test keys over HTTP: made, seen and kept apart from what is live."""

from typing import Any

import httpx
import msgspec

from domain.model.modes import TEST_CASTS_PER_MONTH_MAX, TEST_SCOPES
from tests.api.platform import Account, Api, Rows


def make(api: Api, rows: Rows, account: Account, **body: Any) -> httpx.Response:
    session = rows.session(account)
    return api.http.post("/v1/keys", json={"name": "ci", "mode": "test", **body}, headers=session.headers)


def bearer(text: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}", **more}


def cast(api: Api, reference: str, headers: dict[str, str], **body: Any) -> httpx.Response:
    return api.http.post("/v1/casts", json={"spell": reference, "input": 1, **body}, headers=headers)


def ids(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {one["id"] for one in answer.json()["data"]}


def test_a_test_key_is_made_says_so_and_stays_one(api: Api, rows: Rows) -> None:
    account = rows.account()
    made = make(api, rows, account)
    assert made.status_code == 201
    key = made.json()
    assert key["key"].startswith("sk_test_")
    assert (key["mode"], set(key["scopes"])) == ("test", TEST_SCOPES)
    me = api.http.get("/auth/me", headers=bearer(key["key"])).json()
    assert (me["mode"], me["key_prefix"]) == ("test", key["prefix"])
    # It rotates itself, named by its prefix or its id, and is for tests as before.
    rotated = api.http.post(f"/v1/keys/{key['id']}/rotate", headers=bearer(key["key"])).json()
    assert rotated["key"].startswith("sk_test_")
    assert rotated["mode"] == "test"
    assert rotated["previous_prefix"] == key["prefix"]


def test_a_test_key_gets_neither_powers_nor_a_budget(api: Api, rows: Rows) -> None:
    account = rows.account()
    for body, place in (({"scopes": ["keys:write"]}, "scopes"), ({"budget": {"hard_limit_cents": 1}}, "budget")):
        refused = make(api, rows, account, **body)
        assert refused.status_code == 422
        assert [fault["location"] for fault in refused.json()["errors"]] == [place]
    key = make(api, rows, account).json()
    session = rows.session(account)
    changed = api.http.patch(f"/v1/keys/{key['prefix']}", json={"scopes": ["billing:read"]}, headers=session.headers)
    assert changed.status_code == 422
    narrowed = api.http.patch(f"/v1/keys/{key['prefix']}", json={"scopes": ["casts:read"]}, headers=session.headers)
    assert narrowed.json()["scopes"] == ["casts:read"]


def test_a_test_cast_is_seen_apart_from_live_ones(api: Api, rows: Rows) -> None:
    account = rows.account()
    reference = rows.spell(account, "noop")
    key = make(api, rows, account).json()["key"]
    tested = cast(api, reference, bearer(key)).json()
    live = cast(api, reference, account.headers).json()
    assert (tested["mode"], tested["cost"]["held_micros"], tested["cost"]["funding"]) == ("test", 0, "test")
    assert (live["mode"], live["cost"]["held_micros"]) == ("live", 2_500)
    session = rows.session(account).headers
    for headers in (account.headers, session):
        assert ids(api.http.get("/v1/casts", headers=headers)) == {live["id"]}
        assert ids(api.http.get("/v1/casts?mode=test", headers=headers)) == {tested["id"]}
        assert api.http.get(f"/v1/casts/{tested['id']}", headers=headers).json()["mode"] == "test"
    assert ids(api.http.get("/v1/casts", headers=bearer(key))) == {tested["id"]}
    assert ids(api.http.get("/v1/casts?mode=test", headers=bearer(key))) == {tested["id"]}
    refused = api.http.get("/v1/casts?mode=live", headers=bearer(key))
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    assert api.http.get("/v1/casts?mode=both", headers=session).status_code == 422
    assert api.http.get(f"/v1/casts/{live['id']}", headers=bearer(key)).status_code == 404
    assert api.http.post(f"/v1/casts/{live['id']}/cancel", headers=bearer(key)).status_code == 404
    assert api.http.post(f"/v1/casts/{tested['id']}/cancel", headers=bearer(key)).json()["status"] == "canceled"


def test_a_receipt_says_that_it_was_a_test_and_what_it_would_have_cost(api: Api, rows: Rows) -> None:
    account = rows.account()
    reference = rows.spell(account, "noop")
    key = make(api, rows, account).json()["key"]
    quote = api.http.post(f"/v1/spells/{reference}/quote", json={"input": 1}, headers=bearer(key))
    assert quote.status_code == 200
    tested = cast(api, reference, bearer(key), quote=quote.json()["quote"]).json()
    rows.finish(tested["id"])
    receipt = api.http.get(f"/v1/casts/{tested['id']}/receipt", headers=bearer(key)).json()["receipt"]
    assert (receipt["mode"], receipt["funding"], receipt["ledger"]["transfers"]) == ("test", "test", [])
    hold = receipt["hold"]
    assert (hold["held_micros"], hold["captured_micros"], hold["waived_micros"]) == (0, 0, 1_001)
    assert "test key" in hold["reason"]
    live = cast(api, reference, account.headers).json()
    assert api.http.get(f"/v1/casts/{live['id']}/receipt", headers=bearer(key)).status_code == 404


def test_pages_of_test_casts_go_on_with_test_casts(api: Api, rows: Rows) -> None:
    account = rows.account()
    reference = rows.spell(account, "noop")
    key = make(api, rows, account).json()["key"]
    tested: set[str] = set()
    for _ in range(3):
        cast(api, reference, account.headers)
        tested.add(cast(api, reference, bearer(key)).json()["id"])
    seen: set[str] = set()
    url = "/v1/casts?mode=test&limit=2"
    while url:
        page = api.http.get(url, headers=account.headers)
        seen |= ids(page)
        url = page.links["next"]["url"] if "next" in page.links else ""
    assert seen == tested


def test_a_batch_of_a_test_key_is_judged_cast_by_cast(api: Api, rows: Rows) -> None:
    account, creator = rows.account(), rows.account()
    own, priced = rows.spell(account, "own"), rows.spell(creator, "priced")
    rows.execute(
        "INSERT INTO spell_prices SELECT id, 1, account_id, created_at, created_at, 0, 0, 0, 900, 0, 0, 0"
        " FROM spell_versions WHERE account_id = %(id)s",
        {"id": creator.id},
    )
    key = make(api, rows, account).json()["key"]
    body = {"casts": [{"spell": own, "input": 1}, {"spell": priced, "input": 1}]}
    results = api.http.post("/v1/casts/batch", json=body, headers=bearer(key)).json()["results"]
    assert [result["status"] for result in results] == [202, 403]
    assert results[0]["cast"]["mode"] == "test"
    assert "live key" in results[1]["error"]["detail"]
    assert cast(api, priced, account.headers).json()["cost"]["held_micros"] == 3_400


def test_used_up_test_casts_are_a_402_that_no_budget_counts(api: Api, rows: Rows) -> None:
    account = rows.account()
    reference = rows.spell(account, "noop")
    key = make(api, rows, account).json()["key"]
    cast(api, reference, bearer(key))
    rows.execute(
        "UPDATE account_months SET test_casts = %(most)s WHERE account_id = %(id)s",
        {"most": TEST_CASTS_PER_MONTH_MAX, "id": account.id},
    )
    blocked = api.http.get("/metrics").text
    refused = cast(api, reference, bearer(key))
    assert (refused.status_code, refused.json()["error"]) == (402, "test_allowance_exhausted")
    assert refused.json()["retryable"] is False
    assert metric(api.http.get("/metrics").text) == metric(blocked)
    usage = api.http.get("/v1/usage", headers=bearer(key)).json()
    assert usage["test_allowance"] == {"limit": TEST_CASTS_PER_MONTH_MAX, "used": TEST_CASTS_PER_MONTH_MAX, "left": 0}
    assert cast(api, reference, account.headers).status_code == 202


def metric(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("spell_budget_blocked_total")]


def test_usage_is_of_one_mode(api: Api, rows: Rows) -> None:
    account = rows.account()
    key = make(api, rows, account).json()["key"]
    for path in ("", "/trends", "/breakdown"):
        live = api.http.get(f"/v1/usage{path}", headers=account.headers).json()
        test = api.http.get(f"/v1/usage{path}", headers=bearer(key)).json()
        asked = api.http.get(f"/v1/usage{path}?mode=test", headers=account.headers).json()
        assert (live["mode"], test["mode"], asked["mode"]) == ("live", "test", "test")
        assert api.http.get(f"/v1/usage{path}?mode=live", headers=bearer(key)).status_code == 403
    usage = api.http.get("/v1/usage", headers=bearer(key)).json()
    assert (usage["free_allowance"], usage["budget"], usage["held_micros"]) == (None, None, 0)
    assert api.http.get("/v1/usage", headers=account.headers).json()["test_allowance"] is None
    download = api.http.get("/v1/usage/export?mode=test&format=json", headers=account.headers)
    assert "-test.json" in download.headers["content-disposition"]
    assert msgspec.json.decode(download.content)["data"] == []


def test_one_idempotency_key_serves_both_modes(api: Api, rows: Rows) -> None:
    account = rows.account()
    reference = rows.spell(account, "noop")
    key = make(api, rows, account).json()["key"]
    named = {"idempotency-key": "order-17"}
    live = cast(api, reference, {**account.headers, **named})
    tested = cast(api, reference, bearer(key, **named), metadata={"other": "body"})
    assert (live.status_code, tested.status_code) == (202, 202)
    again = cast(api, reference, bearer(key, **named), metadata={"other": "body"})
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == tested.json()["id"] != live.json()["id"]


def test_an_endpoint_hears_of_one_mode(api: Api, rows: Rows) -> None:
    account = rows.account()
    reference = rows.spell(account, "noop")
    session = rows.session(account).headers
    key = make(api, rows, account).json()["key"]
    hooks = {
        mode: api.http.post(
            "/v1/webhooks", json={"url": f"https://{mode}.example.com/hook", "mode": mode}, headers=session
        ).json()
        for mode in ("live", "test")
    }
    assert {mode: hook["mode"] for mode, hook in hooks.items()} == {"live": "live", "test": "test"}
    made = {"live": cast(api, reference, account.headers).json(), "test": cast(api, reference, bearer(key)).json()}
    for mode, one in made.items():
        api.http.post(f"/v1/casts/{one['id']}/cancel", headers=account.headers)
        told = rows.execute(
            "SELECT endpoint_id::text FROM outgoing WHERE cast_id = %(id)s AND kind = 'webhook'", {"id": one["id"]}
        )
        assert told == [(hooks[mode]["id"],)]
