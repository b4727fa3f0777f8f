"""The login of a command line over HTTP: what the program and the person see, and what neither can do."""

import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from redis import Redis

from api.admission.rate import WINDOW_S
from local.servers import Servers
from tests.api.platform import Account, Api, Rows, Signed
from workers import keys


@pytest.fixture
def signed(rows: Rows, account: Account) -> Signed:
    return rows.session(account)


def begin(api: Api, device_name: str = "laptop") -> dict[str, str]:
    answer = api.http.post("/auth/device", json={"device_name": device_name})
    assert answer.status_code == 200, answer.text
    return answer.json()


def poll(api: Api, begun: dict[str, str]) -> str:
    answer = api.http.post("/auth/device/token", json={"device_code": begun["device_code"]})
    return "session" if answer.status_code == 200 else answer.json()["error"]


def show(api: Api, signed: Signed, code: str) -> tuple[int, str]:
    answer = api.http.get("/auth/device", params={"user_code": code}, headers=signed.cookie)
    return answer.status_code, answer.text


def decide(api: Api, signed: Signed, code: str, decision: str = "approve") -> int:
    headers = {**signed.cookie, "origin": api.url}
    return api.http.post(
        "/auth/device/confirm", data={"user_code": code, "decision": decision}, headers=headers
    ).status_code


def test_a_person_confirms_what_the_program_shows(api: Api, account: Account, signed: Signed) -> None:
    begun = begin(api)
    assert begun["verification_uri"] == f"{api.url}/auth/device"
    complete = urlsplit(begun["verification_uri_complete"])
    assert parse_qs(complete.query) == {"user_code": [begun["user_code"]]}
    assert begun["device_code"] not in begun["verification_uri_complete"]
    status, text = show(api, signed, begun["user_code"].lower().replace("-", " "))
    assert status == 200
    for told in (begun["user_code"], "laptop", account.handle):
        assert told in text
    assert decide(api, signed, begun["user_code"]) == 200
    assert poll(api, begun) == "session"
    assert poll(api, begun) == "expired_token"


def test_looking_changes_nothing(api: Api, signed: Signed) -> None:
    """Whatever follows links, a scanner of mail or a browser that loads ahead, confirms nothing."""
    begun = begin(api)
    for _ in range(3):
        assert show(api, signed, begun["user_code"])[0] == 200
        query = {"user_code": begun["user_code"], "decision": "approve"}
        assert api.http.get("/auth/device", params=query, headers=signed.cookie).status_code == 200
        assert api.http.get("/auth/device/confirm", params=query, headers=signed.cookie).status_code == 405
    assert poll(api, begun) == "authorization_pending"


def test_who_is_not_signed_in_is_sent_to_sign_in_and_back(api: Api, account: Account) -> None:
    begun = begin(api)
    for headers in ({}, account.headers):
        answer = api.http.get("/auth/device", params={"user_code": begun["user_code"]}, headers=headers)
        assert answer.status_code == 303
        there = urlsplit(answer.headers["location"])
        assert (there.scheme, there.netloc, there.path) == ("", "", "/login")
        assert parse_qs(there.query)["return_to"] == [f"/auth/device?user_code={begun['user_code']}"]
    elsewhere = api.http.get("/auth/device", params={"user_code": "//evil.example"})
    assert elsewhere.headers["location"] == "/login?return_to=%2Fauth%2Fdevice"


def test_neither_a_key_nor_nobody_confirms(api: Api, account: Account) -> None:
    begun = begin(api)
    form = {"user_code": begun["user_code"], "decision": "approve"}
    assert api.http.post("/auth/device/confirm", data=form, headers=account.headers).status_code == 403
    assert api.http.post("/auth/device/confirm", data=form).status_code == 401
    assert poll(api, begun) == "authorization_pending"


def test_a_device_is_named_as_text(api: Api, signed: Signed) -> None:
    begun = begin(api, '<script>alert("1")</script>')
    text = show(api, signed, begun["user_code"])[1]
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    for wrong in ("", "x" * 101, "two\nlines", "\x1b[2J"):
        assert api.http.post("/auth/device", json={"device_name": wrong}).status_code == 422
    text = show(api, signed, '"><script>')[1]
    assert "<script" not in text


def test_a_code_that_is_no_code_is_said_to_be_none(api: Api, signed: Signed) -> None:
    assert show(api, signed, "")[0] == 200
    assert "no code" in show(api, signed, "AAAA")[1]
    assert show(api, signed, "BCDF-GHJK")[0] == 404
    assert decide(api, signed, "BCDF-GHJK") == 404
    assert decide(api, signed, "BCDF-GHJK", decision="maybe") == 422


def test_who_turns_it_down_turns_it_down(api: Api, signed: Signed) -> None:
    begun = begin(api)
    assert decide(api, signed, begun["user_code"], decision="deny") == 200
    assert decide(api, signed, begun["user_code"]) == 404
    assert poll(api, begun) == "access_denied"


def test_a_login_that_nobody_confirmed_is_over_after_a_while(api: Api, rows: Rows, signed: Signed) -> None:
    begun = begin(api)
    rows.execute(
        "UPDATE device_logins SET expires_at = expires_at - interval '901 seconds' WHERE user_code = %(code)s",
        {"code": begun["user_code"]},
    )
    assert show(api, signed, begun["user_code"])[0] == 404
    assert decide(api, signed, begun["user_code"]) == 404
    assert poll(api, begun) == "expired_token"


def test_who_asks_too_often_is_told_to_slow_down(api: Api, servers: Servers) -> None:
    """A program's minute is used up by hand, so that no machine is too slow for it."""
    begun = begin(api)
    assert poll(api, begun) == "authorization_pending"
    with Redis.from_url(servers.redis_url) as redis:
        name = hashlib.sha256(begun["device_code"].encode()).hexdigest()
        now_s, now_us = redis.time()
        redis.set(keys.rate(f"device:{name}"), (now_s + WINDOW_S) * 1_000_000 + now_us, px=WINDOW_S * 1_000)
    answer = api.http.post("/auth/device/token", json={"device_code": begun["device_code"]})
    assert (answer.status_code, answer.json()["error"]) == (400, "slow_down")
    assert poll(api, begin(api)) == "authorization_pending"
