import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from domain.model.api_key import prefix_of
from tests.api.platform import Account, Api, Rows


def grant(rows: Rows, account: Account, *scopes: str) -> None:
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || %(scopes)s WHERE id = %(id)s",
        {"scopes": list(scopes), "id": account.key_id},
    )


def bearer(text: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}", **more}


def make(api: Api, account: Account, body: dict[str, Any], **headers: str) -> httpx.Response:
    return api.http.post("/v1/keys", json=body, headers={**account.headers, **headers})


def test_a_key_is_shown_once_works_and_is_revoked(api: Api, rows: Rows) -> None:
    account = rows.account()
    assert make(api, account, {"name": "x"}).status_code == 403
    account = rows.key(account.id, account.handle)
    grant(rows, account, "keys:write")
    made = make(api, account, {"name": "laptop", "rate_limit_rpm": 1000})
    assert made.status_code == 201
    body = made.json()
    assert prefix_of(body["key"]) == body["prefix"]
    assert body["secret_available"] is True
    assert made.headers["location"] == f"/v1/keys/{body['prefix']}"
    stored = rows.execute("SELECT secret_hash FROM api_keys WHERE prefix = %(prefix)s", {"prefix": body["prefix"]})
    assert stored[0][0].startswith("$argon2id$")
    assert body["key"] not in str(stored)
    assert api.http.get("/v1/budgets", headers=bearer(body["key"])).status_code == 200

    listed = api.http.get("/api/keys", headers=account.headers).json()
    assert body["prefix"] in {key["prefix"] for key in listed["data"]}
    assert "key" not in listed["data"][0]

    reference = rows.spell(account, "noop")
    cast = {"spell": reference, "input": 1}
    assert api.http.post("/v1/casts", json=cast, headers=bearer(body["key"])).status_code == 202
    assert api.http.delete(f"/v1/keys/{body['prefix']}", headers=account.headers).status_code == 204
    assert api.http.post("/v1/casts", json=cast, headers=bearer(body["key"])).status_code == 401
    assert api.http.delete(f"/v1/keys/{body['prefix']}", headers=account.headers).status_code == 204
    for unknown in ("sk_live_00000000", "%00", "sk_live_", str(account.id)):
        assert api.http.delete(f"/v1/keys/{unknown}", headers=account.headers).status_code == 404
    assert api.http.delete(f"/v1/keys/{body['prefix']}", headers=rows_stranger(rows)).status_code == 404


def rows_stranger(rows: Rows) -> dict[str, str]:
    stranger = rows.account()
    grant(rows, stranger, "keys:write")
    return stranger.headers


def test_a_key_is_revoked_by_its_id_too(api: Api, rows: Rows) -> None:
    account = rows.account()
    grant(rows, account, "keys:write")
    body = make(api, account, {"name": "x"}).json()
    assert api.http.delete(f"/api/keys/{body['id']}", headers=account.headers).status_code == 204
    assert rows.execute("SELECT count(*) FROM api_keys WHERE id = %(id)s AND revoked_at IS NULL", body) == [(0,)]


def test_the_same_idempotent_call_at_once_makes_one_key(api: Api, rows: Rows) -> None:
    account = rows.account()
    grant(rows, account, "keys:write")
    answers: list[httpx.Response] = []
    start = threading.Barrier(4)

    def call() -> None:
        with httpx.Client(base_url=api.url, timeout=30) as client:
            start.wait()
            headers = {**account.headers, "idempotency-key": "one"}
            answers.append(client.post("/v1/keys", json={"name": "x"}, headers=headers))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["prefix"] for answer in answers}) == 1
    shown = [answer for answer in answers if answer.json()["secret_available"]]
    assert len(shown) == 1
    assert {answer.json()["key"] for answer in answers if answer not in shown} == {None}
    assert [a.headers.get("idempotent-replayed") for a in answers].count("true") == 3
    other = make(api, account, {"name": "y"}, **{"idempotency-key": "one"})
    assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")


def test_what_does_not_fit_is_named(api: Api, rows: Rows) -> None:
    account = rows.account()
    grant(rows, account, "keys:write")
    for body, place in (
        ({}, "name"),
        ({"name": "x", "nme": 1}, "nme"),
        ({"name": "x\u0000"}, "name"),
        ({"name": "x", "rate_limit_rpm": 0}, "rate_limit_rpm"),
        ({"name": "x", "scopes": ["root"]}, "scopes"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "x", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "allowed_origins": ["https://a/"]}, "allowed_origins"),
        ({"name": "x", "budget": {"hard_limit_cents": -1}}, "hard_limit_cents"),
    ):
        answer = make(api, account, body)
        assert answer.status_code == 422, body
        assert place in str(answer.json()["errors"]), answer.json()
    malformed = api.http.post("/v1/keys", content=b"{", headers={**account.headers, "content-type": "application/json"})
    assert malformed.status_code == 400
    long_key = make(api, account, {"name": "x"}, **{"idempotency-key": "k" * 256})
    assert long_key.status_code == 422


def test_a_key_comes_with_its_own_budget(api: Api, rows: Rows) -> None:
    account = rows.account()
    grant(rows, account, "keys:write", "budgets:write")
    asked = {
        "name": "x",
        "budget": {"hard_limit_cents": 0, "period": "daily"},
        "scopes": ["casts:write", "budgets:write"],
    }
    body = make(api, account, asked).json()
    reference = rows.spell(account, "noop")
    answer = api.http.post("/v1/casts", json={"spell": reference}, headers=bearer(body["key"]))
    assert answer.status_code == 402
    limit = answer.json()["limit"]
    assert (limit["scope"], UUID(limit["scope_id"]), limit["period"]) == ("key", UUID(body["id"]), "daily")
    own = api.http.get("/v1/budgets", headers=bearer(body["key"])).json()["data"][0]
    raised = api.http.put(f"/v1/budgets/{own['id']}", json={"hard_limit_cents": 5}, headers=bearer(body["key"]))
    assert (raised.status_code, raised.json()["error"]) == (403, "forbidden")
    assert api.http.delete(f"/v1/budgets/{own['id']}", headers=bearer(body["key"])).status_code == 403
    assert api.http.delete(f"/v1/budgets/{own['id']}", headers=account.headers).status_code == 204


def test_pages_follow_the_cursor_and_say_so_in_link(api: Api, rows: Rows) -> None:
    account = rows.account()
    grant(rows, account, "keys:write")
    for number in range(4):
        make(api, account, {"name": f"k{number}"})
    seen: list[str] = []
    url = "/v1/keys?limit=2"
    while url:
        answer = api.http.get(url, headers=account.headers)
        seen += [key["name"] for key in answer.json()["data"]]
        url = answer.links.get("next", {}).get("url", "")
        assert answer.json()["has_more"] is bool(url)
    assert seen == ["k3", "k2", "k1", "k0", "test"]
    assert api.http.get("/v1/keys?cursor=nonsense", headers=account.headers).status_code == 422
    assert api.http.get("/v1/keys?limit=101", headers=account.headers).status_code == 422


def test_secrets_stand_in_no_log(api: Api, rows: Rows) -> None:
    account = rows.account()
    grant(rows, account, "keys:write")
    body = make(api, account, {"name": "x"}).json()
    api.http.get("/v1/keys", headers=bearer(body["key"]))
    assert body["key"] not in Path(api.log_path).read_text()
