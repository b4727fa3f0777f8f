"""The audit log from outside: what is in it after changes, what never is, and who reads it."""

import base64
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import redis

from domain.model.jobs import CastJob
from domain.model.limits import CastLimits
from local.servers import Servers
from tests.api.modules import module
from tests.api.platform import ADMIN_SECRET, Account, Api, Rows, Signed
from workers import keys
from workers.broker.wire import encode_message

ADMIN = {"x-admin-secret": ADMIN_SECRET, "x-request-id": "asked-by-admin"}


@pytest.fixture
def signed(rows: Rows, account: Account) -> Signed:
    rows.execute(
        "UPDATE api_keys SET scopes = '{budgets:write,casts:write,keys:write,spells:write,webhooks:write}'"
        " WHERE id = %(id)s",
        {"id": account.key_id},
    )
    return rows.session(account)


@pytest.fixture
def wire(servers: Servers) -> Generator[redis.Redis]:
    with redis.Redis.from_url(servers.redis_url) as opened:
        yield opened


def log(api: Api, signed: Signed, **query: Any) -> list[dict[str, Any]]:
    answer = api.http.get("/v1/audit", params=query, headers=signed.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_an_entry_says_who_what_and_from_where(api: Api, account: Account, signed: Signed) -> None:
    headers = {**account.headers, "x-request-id": "asked-1", "x-forwarded-for": "203.0.113.7"}
    body = {"scope": "account", "period": "daily", "soft_limit_cents": 50, "hard_limit_cents": 100}
    budget = api.http.post("/v1/budgets", json=body, headers=headers).json()
    lowered = {"soft_limit_cents": None, "hard_limit_cents": 70, "notify": False}
    path = f"/v1/budgets/{budget['id']}"
    for _ in range(2):  # the same again changes nothing, and leaves nothing
        assert api.http.put(path, json=lowered, headers=signed.headers).status_code == 200
    assert api.http.put(path, json={"hard_limit_cents": 10**6}, headers=account.headers).status_code == 200
    assert api.http.delete(path, headers=account.headers).status_code == 204
    deleted, raised, updated, created = log(api, signed)
    shown = {
        "scope": "account", "scope_id": str(account.id), "period": "daily", "soft_limit_micros": 500_000,
        "hard_limit_micros": 1_000_000, "notify": True,
    }  # fmt: skip
    changed = {**shown, "soft_limit_micros": None, "hard_limit_micros": 700_000, "notify": False}
    assert {name: created[name] for name in ("action", "before", "after", "request_id", "address", "target")} == {
        "action": "budget.create",
        "before": None,
        "after": shown,
        "request_id": "asked-1",
        "address": "127.0.0.1",  # nobody said that a proxy may be believed
        "target": {"kind": "budget", "id": budget["id"]},
    }
    assert created["actor"] == {"kind": "key", "id": str(account.key_id), "user_id": None}
    assert updated["actor"] == {"kind": "session", "id": str(signed.id), "user_id": str(signed.user_id)}
    assert (updated["action"], updated["before"], updated["after"]) == ("budget.update", shown, changed)
    assert raised["before"] == changed
    assert (deleted["action"], deleted["before"], deleted["after"]) == ("budget.delete", raised["after"], None)


def test_it_is_read_page_by_page_and_filtered(api: Api, account: Account, signed: Signed) -> None:
    made = [api.http.post("/v1/keys", json={"name": f"k{n}"}, headers=account.headers).json() for n in range(5)]
    hook = {"url": "https://example.com:8443/secret/path?token=abc"}
    assert api.http.post("/v1/webhooks", json=hook, headers=account.headers).status_code == 201
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        answer = api.http.get("/v1/audit", params=page, headers=signed.headers)
        found += answer.json()["data"]
        assert ('rel="next"' in answer.headers.get("link", "")) == answer.json()["has_more"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert [entry["id"] for entry in found] == [entry["id"] for entry in log(api, signed)]
    assert sorted(entry["action"] for entry in found) == ["key.create"] * 5 + ["webhook.create"]
    [webhook] = log(api, signed, action="webhook.create")
    assert webhook["after"]["url"] == "https://example.com:8443", "path and query may be the receiver's password"
    one = log(api, signed, target_kind="key", target_id=made[3]["id"])
    assert [entry["after"]["name"] for entry in one] == ["k3"]
    assert len(log(api, signed, target_kind="key")) == 5
    hour = timedelta(hours=1)
    assert len(log(api, signed, created_after=(datetime.now(UTC) - hour).isoformat())) == 6
    assert log(api, signed, created_before=(datetime.now(UTC) - hour).isoformat()) == []
    assert log(api, signed, created_after=(datetime.now(UTC) + hour).isoformat()) == []
    for wrong in (
        {"action": "x"},
        {"target_kind": "x"},
        {"created_after": "2026-01-01T00:00:00"},
        {"cursor": "x"},
        {"target_id": "\0"},
        {"limit": 101},
    ):
        assert api.http.get("/v1/audit", params=wrong, headers=signed.headers).status_code in {400, 422}, wrong


def test_another_account_sees_nothing_of_it(api: Api, rows: Rows, account: Account, signed: Signed) -> None:
    key = api.http.post("/v1/keys", json={"name": "mine"}, headers=account.headers).json()
    other = rows.session(rows.account(), role="admin")
    assert len(log(api, signed)) == 1
    assert log(api, other) == []
    assert log(api, other, target_id=key["id"]) == []


def test_keys_from_first_to_last_without_their_secrets(api: Api, rows: Rows, account: Account, signed: Signed) -> None:
    made = api.http.post("/v1/keys", json={"name": "a", "scopes": ["casts:read"]}, headers=signed.headers).json()
    assert api.http.patch(f"/v1/keys/{made['prefix']}", json={"name": "b"}, headers=signed.headers).status_code == 200
    turned = api.http.post(f"/v1/keys/{made['prefix']}/rotate", headers=signed.headers).json()
    for _ in range(2):
        assert api.http.delete(f"/v1/keys/{turned['prefix']}", headers=signed.headers).status_code == 204
    revoked, rotated, updated, created = log(api, signed, target_id=made["id"])
    assert [entry["action"] for entry in (created, updated, rotated, revoked)] == [
        "key.create", "key.update", "key.rotate", "key.revoke",
    ]  # fmt: skip
    assert (created["before"], created["after"]["scopes"]) == (None, ["casts:read"])
    assert (updated["before"]["name"], updated["after"]["name"]) == ("a", "b")
    assert (rotated["before"]["prefix"], rotated["after"]["prefix"]) == (made["prefix"], turned["prefix"])
    assert (revoked["before"]["revoked_at"], revoked["after"]["revoked_at"] is None) == (None, False)
    text = repr(rows.execute("SELECT a::text FROM audit_log a WHERE account_id = %(id)s", {"id": account.id}))
    for secret in (made["key"], turned["key"], account.key, signed.token):
        assert secret not in text
        assert secret[len("sk_live_12345678_") :] not in text  # what is behind the prefix, which is shown
    assert "argon2" not in text


def test_a_refused_change_leaves_no_entry(api: Api, account: Account, signed: Signed) -> None:
    for _ in range(2):
        api.http.post("/v1/budgets", json={"scope": "account", "hard_limit_cents": 1}, headers=account.headers)
    api.http.post("/v1/budgets", json={"scope": "account", "hard_limit_cents": -1}, headers=account.headers)
    api.http.delete("/v1/keys/sk_live_00000000", headers=account.headers)
    repeat = {**account.headers, "idempotency-key": "once"}
    first, again = (api.http.post("/v1/keys", json={"name": "x"}, headers=repeat) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert sorted(entry["action"] for entry in log(api, signed)) == ["budget.create", "key.create"]


def test_publishing(api: Api, account: Account, signed: Signed) -> None:
    path = f"/v1/spells/{account.handle}/words"
    publish = {**account.headers, "content-type": "application/wasm"}
    for _ in range(2):
        assert api.http.put(f"{path}/versions/1.0.0", content=module(), headers=publish).status_code in {200, 201}
    assert api.http.patch(path, json={"visibility": "unlisted"}, headers=account.headers).status_code == 200
    assert api.http.patch(f"{path}/versions/1.0.0", json={"deprecation": "old"}, headers=account.headers).is_success
    for method in ("POST", "DELETE"):
        assert api.http.request(method, f"{path}/versions/1.0.0/yank", headers=account.headers).is_success
    for _ in range(2):
        assert api.http.delete(path, headers=account.headers).status_code == 204
    found = log(api, signed)[::-1]
    assert sorted(entry["action"] for entry in found[:2]) == ["spell.create", "version.publish"]
    assert [entry["action"] for entry in found[2:]] == [
        "spell.update", "version.update", "version.yank", "version.unyank", "spell.retire",
    ]  # fmt: skip
    [published] = log(api, signed, action="version.publish")
    assert published["after"]["digest"].startswith("sha256:")
    assert (found[2]["before"]["visibility"], found[2]["after"]["visibility"]) == ("public", "unlisted")


def test_a_login_of_a_command_line(api: Api, signed: Signed) -> None:
    for decision in ("deny", "approve"):
        begun = api.http.post("/auth/device", json={"device_name": "laptop"}).json()
        form = {"user_code": begun["user_code"], "decision": decision}
        assert api.http.post("/auth/device/confirm", data=form, headers=signed.headers).status_code == 200
    poll = {"x-request-id": "polled"}
    given = api.http.post("/auth/device/token", json={"device_code": begun["device_code"]}, headers=poll).json()
    cli = {"authorization": f"Bearer {given['session_token']}"}
    assert api.http.post("/auth/logout", headers=cli).status_code == 204
    ended, opened, approved, denied = log(api, signed)
    assert [entry["action"] for entry in (denied, approved, opened, ended)] == [
        "device.deny", "device.approve", "session.begin", "session.end",
    ]  # fmt: skip
    assert approved["actor"]["id"] == str(signed.id)
    assert (opened["request_id"], opened["address"], opened["after"]["kind"]) == ("polled", "127.0.0.1", "cli")
    assert opened["actor"]["id"] == opened["target"]["id"] == ended["target"]["id"]
    assert given["session_token"] not in repr((ended, opened))


def bury(wire: redis.Redis, cast_id: str) -> str:
    job = CastJob(
        cast_id=UUID(cast_id), token=b"", digest=b"", limits=CastLimits(), input=b"1", accepted_ms=0, deadline_ms=1
    )
    entry = wire.xadd(keys.dead("default"), {"m": encode_message("default", job), "r": "poison"})
    assert isinstance(entry, bytes)
    return entry.decode()


def test_dead_letters(api: Api, rows: Rows, wire: redis.Redis, account: Account, signed: Signed) -> None:
    """The owner of the cast is told what the operator did with it; what nobody can read is in the platform's log."""
    spell = rows.spell(account, "noop")
    first = api.http.post("/v1/casts", json={"spell": spell, "input": 1}, headers=account.headers).json()["id"]
    again, dropped = bury(wire, first), bury(wire, first)
    garbage = wire.xadd(keys.dead("default"), {"m": b"?", "r": "undecodable"})
    assert isinstance(garbage, bytes)
    path = "/admin/dead-letters/default"
    requeued = api.http.post(f"{path}/{again}/requeue", headers=ADMIN).json()
    for letter in (dropped, garbage.decode()):
        assert api.http.delete(f"{path}/{letter}", headers=ADMIN).status_code == 204
    drop, requeue = log(api, signed)
    assert (drop["action"], drop["target"]["id"]) == ("dead_letter.drop", f"default/{dropped}")
    assert (requeue["action"], requeue["target"]["id"]) == ("dead_letter.requeue", f"default/{again}")
    assert requeue["after"] == {"reason": "poison", "cast_id": first, "new_cast_id": requeued["cast_id"]}
    assert requeue["actor"] == {"kind": "admin", "id": None, "user_id": None}
    assert (requeue["request_id"], requeue["address"]) == ("asked-by-admin", "127.0.0.1")
    mine = rows.execute(
        "SELECT a.handle, l.action FROM audit_log l JOIN accounts a ON a.id = l.account_id WHERE target_id = %(id)s",
        {"id": f"default/{garbage.decode()}"},
    )
    assert mine == [("local", "dead_letter.drop")]


def test_a_cursor_of_another_list_is_harmless(api: Api, signed: Signed) -> None:
    cursor = base64.urlsafe_b64encode(bytes(24)).decode()
    assert log(api, signed, cursor=cursor) == []


@pytest.mark.parametrize(
    "query",
    [
        {"created_after": "0001-01-01T00:00:00+14:00"},
        {"created_before": "9999-12-31T23:59:59-14:00"},
        {"cursor": base64.urlsafe_b64encode(b"\xff" * 24).decode()},
        {"target_id": "\U0001f600\u202e'\"--"},
    ],
)
def test_nothing_asked_of_it_is_a_server_error(api: Api, signed: Signed, query: dict[str, str]) -> None:
    assert api.http.get("/v1/audit", params=query, headers=signed.headers).status_code in {200, 422}
