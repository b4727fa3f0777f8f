"""Webhooks over HTTP: endpoints, secrets, deliveries, and the events of who follows. The courier is another process."""

import threading
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from standardwebhooks import Webhook

from domain.model.webhook_rules import ENDPOINTS_PER_ACCOUNT_MAX, ROWS_AT_ONCE_MAX
from tests.api.platform import Account, Api, Rows

URL = "https://example.com/hook"
LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture
def owner(rows: Rows) -> Account:
    return rows_owner(rows)


def rows_owner(rows: Rows, *scopes: str) -> Account:
    account = rows.account()
    scopes = scopes or ("webhooks:write", "casts:write", "casts:read")
    rows.execute("UPDATE api_keys SET scopes = %(s)s WHERE id = %(id)s", {"s": list(scopes), "id": account.key_id})
    return account


def make(api: Api, account: Account, *, idempotency_key: str | None = None, **body: Any) -> httpx.Response:
    headers = account.headers if idempotency_key is None else {**account.headers, "idempotency-key": idempotency_key}
    return api.http.post("/v1/webhooks", json={"url": URL, **body}, headers=headers)


def made(api: Api, account: Account, **body: Any) -> dict[str, Any]:
    answer = make(api, account, **body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def call(api: Api, account: Account, method: str, path: str, **more: Any) -> httpx.Response:
    return api.http.request(method, f"/v1/webhooks{path}", headers=account.headers, **more)


def has_webhooks(rows: Rows, account: Account) -> bool:
    return rows.execute("SELECT has_webhooks FROM accounts WHERE id = %(id)s", {"id": account.id})[0][0]


def deliver(rows: Rows, delivery_id: str, *, status: str, attempts: int = 1) -> None:
    """Write down what a courier would have found."""
    rows.execute(
        "UPDATE outgoing SET status = %(status)s, finished_at = clock_timestamp(), attempts = %(attempts)s"
        " WHERE id = %(id)s",
        {"id": delivery_id, "status": status, "attempts": attempts},
    )
    rows.execute(
        "INSERT INTO outgoing_attempts (outgoing_id, attempt, account_id, started_at, duration_ms, request_headers,"
        ' status_code, response_body, error) SELECT id, 1, account_id, clock_timestamp(), 17, \'{"webhook-id": "x"}\','
        " 500, '\\xff6f', NULL FROM outgoing WHERE id = %(id)s",
        {"id": delivery_id},
    )


def test_an_endpoint_is_made_listed_changed_and_deleted(api: Api, rows: Rows, owner: Account) -> None:
    body = made(api, owner, event_types=["cast.*"], description="prod")
    assert (body["url"], body["event_types"], body["description"]) == (URL, ["cast.*"], "prod")
    assert body["secret"].startswith("whsec_")
    assert has_webhooks(rows, owner)
    one = f"/{body['id']}"
    shown = call(api, owner, "GET", one).json()
    assert "secret" not in shown
    assert call(api, owner, "GET", "").json()["data"] == [shown]
    assert call(api, owner, "GET", f"{one}/secret").json()["secret"] == body["secret"]
    changed = call(api, owner, "PATCH", one, json={"url": f"{URL}/2", "event_types": ["*"], "disabled": True}).json()
    assert (changed["url"], changed["event_types"], changed["disabled_reason"]) == (f"{URL}/2", ["*"], "owner")
    assert not has_webhooks(rows, owner)
    again = call(api, owner, "PATCH", one, json={"disabled": True}).json()
    assert again["disabled_at"] == changed["disabled_at"]
    enabled = call(api, owner, "PATCH", one, json={"disabled": False}).json()
    assert (enabled["disabled_at"], enabled["disabled_reason"]) == (None, None)
    assert has_webhooks(rows, owner)
    assert call(api, owner, "DELETE", one).status_code == 204
    assert not has_webhooks(rows, owner)
    for method, path in (("DELETE", one), ("GET", one), ("PATCH", one), ("GET", f"{one}/deliveries")):
        answer = call(api, owner, method, path, **({"json": {}} if method == "PATCH" else {}))
        assert answer.status_code == 404, (method, path)


def test_what_belongs_to_another_is_not_found(api: Api, rows: Rows, owner: Account) -> None:
    body = made(api, owner)
    delivery = call(api, owner, "POST", f"/{body['id']}/test").json()
    stranger = rows_owner(rows)
    one, event = f"/{body['id']}", f"/deliveries/{delivery['id']}"
    for method, path, data in (
        ("GET", one, None),
        ("PATCH", one, {}),
        ("DELETE", one, None),
        ("GET", f"{one}/secret", None),
        ("GET", f"{one}/deliveries", None),
        ("POST", f"{one}/test", None),
        ("POST", f"{one}/rotate-secret", {}),
        ("POST", f"{one}/redeliver", {"since": LONG_AGO}),
        ("POST", f"{one}{event}/redeliver", None),
    ):
        assert call(api, stranger, method, path, json=data).status_code == 404, (method, path)
    own = made(api, stranger)
    assert call(api, stranger, "POST", f"/{own['id']}{event}/redeliver").status_code == 404
    assert call(api, stranger, "GET", "").json()["data"][0]["id"] == own["id"]
    secrets = {call(api, account, "GET", "/secret").json()["secret"] for account in (owner, stranger)}
    assert len(secrets | {own["secret"], body["secret"]}) == 4


def test_reading_needs_casts_read_and_everything_else_webhooks_write(api: Api, rows: Rows) -> None:
    account = rows_owner(rows, "casts:read")
    assert make(api, account).status_code == 403
    assert call(api, account, "GET", "").status_code == 200
    for method, path in (("GET", "/secret"), ("GET", "/events"), ("GET", f"/{uuid4()}/secret")):
        assert call(api, account, method, path).status_code == 403, path
    assert call(api, rows_owner(rows, "casts:write"), "GET", "").status_code == 403


def test_the_same_idempotent_call_at_once_makes_one_endpoint(api: Api, owner: Account) -> None:
    answers: list[httpx.Response] = []
    start = threading.Barrier(4)

    def once() -> None:
        with httpx.Client(base_url=api.url, timeout=30) as client:
            start.wait()
            headers = {**owner.headers, "idempotency-key": "one"}
            answers.append(client.post("/v1/webhooks", json={"url": URL}, headers=headers))

    threads = [threading.Thread(target=once) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({(answer.json()["id"], answer.json()["secret"]) for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers].count("true") == 3
    assert len(call(api, owner, "GET", "").json()["data"]) == 1
    assert make(api, owner, idempotency_key="one", description="other").status_code == 422
    only = call(api, owner, "GET", "").json()["data"][0]
    call(api, owner, "DELETE", f"/{only['id']}")
    assert make(api, owner, idempotency_key="one").status_code == 404


def test_what_does_not_fit_is_named(api: Api, owner: Account) -> None:
    for body, place in (
        ({"url": "http://example.com"}, "url"),
        ({"url": "https://127.0.0.1"}, "url"),
        ({"url": ""}, "url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["cast.exploded"]}, "event_types"),
        ({"description": "a\nb"}, "description"),
        ({"secret": "mine"}, "secret"),
    ):
        answer = make(api, owner, **body)
        assert answer.status_code == 422, (body, answer.text)
        assert place in answer.json()["errors"][0]["location"] + answer.json()["errors"][0]["message"]
    webhook = made(api, owner)
    wrong = call(api, owner, "PATCH", f"/{webhook['id']}", json={"url": "https://10.0.0.1"})
    assert (wrong.status_code, wrong.json()["errors"][0]["location"]) == (422, "url")
    for seconds in (-1, 7 * 24 * 3600 + 1):
        path = f"/{webhook['id']}/rotate-secret"
        assert call(api, owner, "POST", path, json={"grace_seconds": seconds}).status_code == 422


def test_an_account_has_so_many_endpoints_and_pages_through_them(api: Api, owner: Account) -> None:
    ids = [made(api, owner)["id"] for _ in range(ENDPOINTS_PER_ACCOUNT_MAX)]
    assert make(api, owner).status_code == 409
    seen: list[str] = []
    url = "/v1/webhooks?limit=7"
    while url:
        answer = api.http.get(url, headers=owner.headers)
        seen += [webhook["id"] for webhook in answer.json()["data"]]
        url = answer.links.get("next", {}).get("url", "")
    assert seen == ids[::-1]
    call(api, owner, "DELETE", f"/{ids[0]}")
    made(api, owner)


def test_a_rotated_secret_is_new_and_the_old_one_signs_for_a_while(api: Api, owner: Account) -> None:
    webhook = made(api, owner)
    one = f"/{webhook['id']}"
    headers = {**owner.headers, "idempotency-key": "r1"}
    first, again = [
        api.http.post(f"/v1/webhooks{one}/rotate-secret", json={"grace_seconds": 3600}, headers=headers)
        for _ in range(2)
    ]
    assert first.status_code == again.status_code == 200
    assert first.json()["secret"] == again.json()["secret"] != webhook["secret"]
    assert again.headers["idempotent-replayed"] == "true"
    shown = call(api, owner, "GET", f"{one}/secret").json()
    assert (shown["secret"], shown["previous_secret"]) == (first.json()["secret"], webhook["secret"])
    assert shown["previous_valid_until"]
    at_once = call(api, owner, "POST", f"{one}/rotate-secret", json={"grace_seconds": 0}).json()
    shown = call(api, owner, "GET", f"{one}/secret").json()
    assert shown == {"secret": at_once["secret"], "previous_secret": None, "previous_valid_until": None}
    assert call(api, owner, "POST", f"{one}/rotate-secret").status_code == 200  # a day by default
    assert call(api, owner, "GET", f"{one}/secret").json()["previous_secret"] == at_once["secret"]


def test_a_test_event_is_one_delivery_and_its_attempts_are_shown(api: Api, rows: Rows, owner: Account) -> None:
    webhook = made(api, owner, event_types=["spell.suspended"])
    one = f"/{webhook['id']}"
    headers = {**owner.headers, "idempotency-key": "t1"}
    first, again = [api.http.post(f"/v1/webhooks{one}/test", headers=headers) for _ in range(2)]
    assert (first.status_code, again.json()["id"]) == (202, first.json()["id"])
    other = call(api, owner, "POST", f"{one}/test").json()
    assert (other["event_type"], other["status"], other["attempts"]) == ("webhook.test", "pending", 0)
    deliver(rows, first.json()["id"], status="failed")
    page = call(api, owner, "GET", f"{one}/deliveries?limit=1")
    assert [delivery["id"] for delivery in page.json()["data"]] == [other["id"]]
    older = api.http.get(page.links["next"]["url"], headers=owner.headers).json()
    assert (older["has_more"], len(older["data"])) == (False, 1)
    failed = older["data"][0]
    assert (failed["id"], failed["status"], failed["next_attempt_at"]) == (first.json()["id"], "failed", None)
    assert failed["event_id"].startswith("evt_")
    (attempt,) = failed["attempt_log"]
    assert (attempt["status_code"], attempt["response_body"], attempt["duration_ms"]) == (500, "�o", 17)
    assert attempt["request_headers"] == {"webhook-id": "x"}
    assert len(call(api, owner, "GET", f"{one}/deliveries?status=failed").json()["data"]) == 1
    assert call(api, owner, "GET", f"{one}/deliveries?status=lost").status_code == 422


def test_a_delivery_is_sent_again_and_a_disabled_endpoint_gets_none(api: Api, rows: Rows, owner: Account) -> None:
    webhook = made(api, owner)
    one = f"/{webhook['id']}"
    delivery = call(api, owner, "POST", f"{one}/test").json()["id"]
    again = f"{one}/deliveries/{delivery}/redeliver"
    rows.execute("UPDATE outgoing SET next_attempt_at = now() + interval '1 day' WHERE id = %(id)s", {"id": delivery})
    for status in ("pending", "failed", "delivered"):
        if status != "pending":
            rows.execute("DELETE FROM outgoing_attempts WHERE outgoing_id = %(id)s", {"id": delivery})
            deliver(rows, delivery, status=status, attempts=3)
        answers = [call(api, owner, "POST", again) for _ in range(2)]
        assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(202, "pending")] * 2
        due = "SELECT next_attempt_at <= clock_timestamp() FROM outgoing WHERE id = %(id)s"
        assert rows.execute(due, {"id": delivery}) == [(True,)], status
    assert rows.execute("SELECT attempts, attempts_before FROM outgoing WHERE id = %(id)s", {"id": delivery}) == [
        (3, 3)
    ]
    call(api, owner, "PATCH", one, json={"disabled": True})
    assert rows.execute("SELECT status FROM outgoing WHERE id = %(id)s", {"id": delivery}) == [("canceled",)]
    for path, body in ((again, None), (f"{one}/test", None), (f"{one}/redeliver", {"since": LONG_AGO})):
        assert call(api, owner, "POST", path, json=body).status_code == 409, path
    call(api, owner, "PATCH", one, json={"disabled": False})
    assert call(api, owner, "POST", f"{one}/redeliver", json={"since": LONG_AGO, "until": LONG_AGO}).json() == {
        "redelivered": 0,
        "has_more": False,
    }
    missed = call(api, owner, "POST", f"{one}/redeliver", json={"since": LONG_AGO})
    assert (missed.status_code, missed.json()) == (202, {"redelivered": 1, "has_more": False})
    assert call(api, owner, "POST", f"{one}/redeliver", json={"since": LONG_AGO}).json()["redelivered"] == 0
    assert call(api, owner, "DELETE", one).status_code == 204
    assert rows.execute("SELECT status FROM outgoing WHERE id = %(id)s", {"id": delivery}) == [("canceled",)]


def test_what_was_missed_is_sent_again_in_pieces(api: Api, rows: Rows, owner: Account) -> None:
    webhook = made(api, owner)
    rows.execute(
        "INSERT INTO outgoing (id, account_id, kind, event_id, event_type, endpoint_id, payload, created_at,"
        " next_attempt_at, status, finished_at) SELECT gen_random_uuid(), %(account)s, 'webhook', gen_random_uuid(),"
        " 'webhook.test', %(webhook)s, '{}', now(), now(), 'failed', now() FROM generate_series(1, %(count)s)",
        {"account": owner.id, "webhook": webhook["id"], "count": ROWS_AT_ONCE_MAX + 1},
    )
    path = f"/{webhook['id']}/redeliver"
    found = [call(api, owner, "POST", path, json={"since": LONG_AGO}).json() for _ in range(2)]
    assert found == [{"redelivered": ROWS_AT_ONCE_MAX, "has_more": True}, {"redelivered": 1, "has_more": False}]


def test_events_are_followed_from_a_cursor_and_verify(api: Api, rows: Rows, owner: Account) -> None:
    secret = call(api, owner, "GET", "/secret").json()["secret"]
    begun = call(api, owner, "GET", "/events").json()
    assert (begun["data"], begun["gap"]) == ([], False)
    spell = rows.spell(owner, "noop")
    ids = [api.http.post("/v1/casts", json={"spell": spell}, headers=owner.headers).json()["id"] for _ in range(2)]
    for cast_id in ids:
        assert api.http.post(f"/v1/casts/{cast_id}/cancel", headers=owner.headers).status_code == 200
    waiting = {**owner.headers, "prefer": "wait=60"}
    waited = api.http.get(f"/v1/webhooks/events?after={begun['next_cursor']}", headers=waiting)
    page = waited.json()
    assert waited.headers["preference-applied"] == "wait=60"
    assert [event["type"] for event in page["data"]] == ["cast.canceled"] * 2
    assert [UUID(event["id"].removeprefix("evt_")) for event in page["data"]] == [UUID(cast_id) for cast_id in ids]
    for event in page["data"]:
        body = Webhook(secret).verify(event["body"], event["headers"])
        assert (body["type"], body["data"]["status"]) == ("cast.canceled", "canceled")
    assert call(api, owner, "GET", f"/events?after={page['next_cursor']}").json()["data"] == []
    others = call(api, owner, "GET", f"/events?after={begun['next_cursor']}&types=cast.failed,budget.*").json()
    assert (others["data"], others["next_cursor"]) == ([], page["next_cursor"])
    rows.execute(
        "UPDATE accounts SET listening_until = now() - interval '1 second' WHERE id = %(id)s", {"id": owner.id}
    )
    late = call(api, owner, "GET", f"/events?after={page['next_cursor']}").json()
    assert (late["gap"], late["data"]) == (True, [])
    assert call(api, owner, "GET", f"/events?after={page['next_cursor']}").json()["gap"] is False
    assert call(api, owner, "GET", "/events?after=nonsense").status_code == 422


def test_the_address_a_cast_came_with_has_its_own_delivery(api: Api, rows: Rows, owner: Account) -> None:
    spell = rows.spell(owner, "told")
    body = {"spell": spell, "webhook_url": URL}
    batch = api.http.post("/v1/casts/batch", json={"casts": [body, {"spell": spell}]}, headers=owner.headers).json()
    told, silent = [result["cast"]["id"] for result in batch["results"]]
    for cast_id in (told, silent):
        api.http.post(f"/v1/casts/{cast_id}/cancel", headers=owner.headers)
    (delivery,) = api.http.get(f"/v1/casts/{told}/deliveries", headers=owner.headers).json()["data"]
    assert (delivery["url"], delivery["event_type"], delivery["webhook_id"]) == (URL, "cast.canceled", None)
    assert api.http.get(f"/v1/casts/{silent}/deliveries", headers=owner.headers).json()["data"] == []
    again = f"/v1/casts/{told}/deliveries/{delivery['id']}/redeliver"
    assert api.http.post(again, headers=owner.headers).json()["status"] == "pending"
    stranger = rows_owner(rows)
    assert api.http.post(again, headers=stranger.headers).status_code == 404
    assert api.http.get(f"/v1/casts/{told}/deliveries", headers=stranger.headers).status_code == 404
