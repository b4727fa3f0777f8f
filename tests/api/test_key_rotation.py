"""Keys changed and rotated over HTTP, by whom, and what the other secret may do meanwhile."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.platform import Account, Api, Rows

DAY = timedelta(days=1)


def grant(rows: Rows, account: Account, *scopes: str) -> Account:
    rows.execute(
        "UPDATE api_keys SET scopes = scopes || %(scopes)s WHERE id = %(id)s",
        {"scopes": list(scopes), "id": account.key_id},
    )
    return account


def bearer(text: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}", **more}


def rotate(api: Api, account: Account, prefix: str, body: dict[str, Any] | None = None, **more: str) -> httpx.Response:
    return api.http.post(f"/v1/keys/{prefix}/rotate", json=body, headers={**account.headers, **more})


def test_both_secrets_work_in_the_grace_and_a_revoke_ends_both(api: Api, rows: Rows) -> None:
    account = grant(rows, rows.account(), "keys:write")
    reference = rows.spell(account, "noop")
    other = rows.key(account.id, account.handle)
    before = datetime.now(UTC)
    answer = rotate(api, account, other.prefix, {"grace_seconds": 3600})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["id"], body["previous_prefix"], body["secret_available"]) == (str(other.key_id), other.prefix, True)
    until = datetime.fromisoformat(body["previous_until"])
    assert timedelta(0) <= until - before - timedelta(hours=1) < DAY
    for headers in (other.headers, bearer(body["key"])):
        assert api.http.post("/v1/casts", json={"spell": reference}, headers=headers).status_code == 202
    listed = api.http.get("/v1/keys", headers=account.headers).json()["data"]
    assert [key["prefix"] for key in listed if key["id"] == body["id"]] == [body["prefix"]]
    # Casts of both secrets are one key's.
    casts = api.http.get("/v1/casts", params={"key": body["prefix"]}, headers=account.headers).json()["data"]
    assert len(casts) == 2
    assert api.http.delete(f"/v1/keys/{other.prefix}", headers=account.headers).status_code == 204
    for headers in (other.headers, bearer(body["key"])):
        assert api.http.post("/v1/casts", json={"spell": reference}, headers=headers).status_code == 401


def test_an_old_secret_makes_nothing_that_outlives_it(api: Api, rows: Rows) -> None:
    account = grant(rows, rows.account(), "keys:write")
    new = rotate(api, account, account.prefix).json()
    assert api.http.get("/v1/keys", headers=bearer(new["key"])).status_code == 200
    assert api.http.get("/v1/keys", headers=account.headers).status_code == 200
    refused = [
        rotate(api, account, new["prefix"]),
        api.http.post("/v1/keys", json={"name": "x"}, headers=account.headers),
        api.http.patch(f"/v1/keys/{new['prefix']}", json={"expires_at": None}, headers=account.headers),
    ]
    assert [answer.status_code for answer in refused] == [403] * 3
    # The api may know of the rotation a second late; the account's lock knows at once.
    assert all("grace" in answer.json()["detail"] for answer in refused)


def test_a_replayed_rotation_shows_no_secret_and_rotates_nothing(api: Api, rows: Rows) -> None:
    account = rows.account()
    first = rotate(api, account, account.prefix, {}, **{"idempotency-key": "one"})
    again = rotate(api, account, account.prefix, {}, **{"idempotency-key": "one"})  # with the old secret
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.json()["key"], again.json()["secret_available"]) == (None, False)
    assert again.json()["prefix"] == first.json()["prefix"]
    other = rotate(api, account, account.prefix, {"grace_seconds": 1}, **{"idempotency-key": "one"})
    assert other.json()["error"] == "idempotency_key_reused"


@pytest.mark.parametrize("way", ["rotate", "revoke"])
def test_no_cast_is_accepted_with_a_secret_that_was_ended(api: Api, rows: Rows, way: str) -> None:
    """Casts run into the change from four threads; whoever asks after its answer is refused, each and every time."""
    account = rows.account()
    target = rows.key(account.id, account.handle)
    grant(rows, account, "keys:write")
    reference = rows.spell(account, "noop")
    start, ended = threading.Barrier(5), threading.Event()
    late: list[int] = []

    def cast() -> None:
        with httpx.Client(base_url=api.url, timeout=30) as client:
            start.wait()
            for _ in range(1_000):
                knew = ended.is_set()
                status = client.post("/v1/casts", json={"spell": reference}, headers=target.headers).status_code
                assert status in {202, 401}
                if knew:
                    late.append(status)
                    return

    threads = [threading.Thread(target=cast) for _ in range(4)]
    for thread in threads:
        thread.start()
    start.wait()
    if way == "rotate":
        answer = rotate(api, account, target.prefix, {"grace_seconds": 0})
    else:
        answer = api.http.delete(f"/v1/keys/{target.prefix}", headers=account.headers)
    ended.set()
    for thread in threads:
        thread.join()
    assert answer.status_code in {200, 204}
    assert late == [401] * 4
    new = bearer(answer.json()["key"]) if way == "rotate" else account.headers
    assert api.http.post("/v1/casts", json={"spell": reference}, headers=new).status_code == 202


def test_what_is_changed_holds_and_what_is_left_out_stays(api: Api, rows: Rows) -> None:
    account = grant(rows, rows.account(), "keys:write")
    made = api.http.post("/v1/keys", json={"name": "x", "open_casts_max": 2}, headers=account.headers).json()
    one = f"/api/keys/{made['id']}"
    changed = api.http.patch(one, json={"name": "y", "rate_limit_rpm": 2}, headers=account.headers).json()
    assert (changed["name"], changed["rate_limit_rpm"], changed["open_casts_max"]) == ("y", 2, 2)
    assert changed["scopes"] == made["scopes"] == ["casts:read", "casts:write"]
    codes = [api.http.get("/v1/budgets", headers=bearer(made["key"])).status_code for _ in range(4)]
    assert codes == [200, 200, 429, 429]
    narrowed = api.http.patch(one, json={"scopes": ["casts:read"], "open_casts_max": None}, headers=account.headers)
    assert (narrowed.json()["scopes"], narrowed.json()["open_casts_max"]) == (["casts:read"], None)
    ended = api.http.patch(
        one, json={"expires_at": (datetime.now(UTC) + DAY).isoformat(), "rate_limit_rpm": 9}, headers=account.headers
    )
    assert ended.json()["expires_at"] is not None
    for body, place in (
        ({"nme": "x"}, "nme"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"allowed_origins": ["*"]}, "allowed_origins.0"),
        ({"scopes": ["root"]}, "scopes"),
    ):
        answer = api.http.patch(one, json=body, headers=account.headers)
        assert answer.status_code == 422
        assert place in str(answer.json()["errors"])
    assert api.http.patch("/v1/keys/sk_live_00000000", json={}, headers=account.headers).status_code == 404
    api.http.delete(one, headers=account.headers)
    assert api.http.patch(one, json={"name": "z"}, headers=account.headers).status_code == 409


def test_a_key_gives_no_more_than_it_has(api: Api, rows: Rows) -> None:
    account = rows.account()
    maker = grant(rows, rows.key(account.id, account.handle, rpm=100), "keys:write")
    made = api.http.post("/v1/keys", json={"name": "x", "rate_limit_rpm": 1_000}, headers=maker.headers).json()
    assert made["rate_limit_rpm"] == 100
    for prefix in (made["prefix"], maker.prefix):
        for body in ({"rate_limit_rpm": 101}, {"rate_limit_rpm": None}, {"scopes": ["spells:write"]}):
            answer = api.http.patch(f"/v1/keys/{prefix}", json=body, headers=maker.headers)
            assert (answer.status_code, answer.json()["error"]) == (403, "forbidden"), body
    without = rows.key(account.id, account.handle)
    rows.execute("UPDATE api_keys SET scopes = '{keys:write}' WHERE id = %(id)s", {"id": without.key_id})
    plain = api.http.post("/v1/keys", json={"name": "x"}, headers=without.headers)
    assert plain.json()["scopes"] == []
    asked = api.http.post("/v1/keys", json={"name": "x", "scopes": ["casts:write"]}, headers=without.headers)
    assert asked.status_code == 403


def test_grace_has_a_bound_and_a_body_is_not_needed(api: Api, rows: Rows) -> None:
    account = rows.account()
    for body, status in (({"grace_seconds": -1}, 422), ({"grace_seconds": 604_801}, 422), ({"grace": 1}, 422)):
        assert rotate(api, account, account.prefix, body).status_code == status
    answer = api.http.post(f"/v1/keys/{account.prefix}/rotate", headers=account.headers)
    assert answer.status_code == 200
    body = answer.json()
    assert datetime.fromisoformat(body["previous_until"]) - datetime.fromisoformat(body["rotated_at"]) == DAY
