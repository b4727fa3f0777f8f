"""The cast routes over real HTTP: what is accepted, what is refused, and exactly how both look."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.platform import Account, Api, Rows


@pytest.fixture
def spell(rows: Rows, account: Account) -> str:
    return rows.spell(account, "echo")


def cast(api: Api, account: Account, body: Any, path: str = "/v1/casts", **headers: str) -> httpx.Response:
    return api.http.post(
        path, json=body, headers={**account.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


def test_an_accepted_cast_is_durable_held_for_and_on_the_wire(
    api: Api, rows: Rows, account: Account, spell: str
) -> None:
    answer = cast(api, account, {"spell": spell, "input": {"a": 1}, "metadata": {"order": "17"}})

    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == body["urls"]["self"] == f"{api.url}/v1/casts/{body['id']}"
    assert (body["status"], body["spell"], body["version"], body["metadata"]) == (
        "queued",
        spell,
        "1.0.0",
        {"order": "17"},
    )
    assert body["cost"] == {
        "held_micros": 2_500,
        "cost_micros": None,
        "cost_cents": None,
        "currency": "usd",
        "funding": "free",
    }
    stored = rows.execute("SELECT account_id, status, input, held_micros FROM casts WHERE id = %(id)s", body)
    assert stored == [(account.id, "queued", b'{"a":1}', 2_500)]
    assert api.http.get(f"/v1/casts/{body['id']}", headers=account.headers).json() == body


@pytest.mark.parametrize(
    "case",
    [
        (b'"input":  { "b" : [1.50, 1e400000] }', b'{ "b" : [1.50, 1e400000] }'),
        (b'"input":null', b"null"),
        (b'"input_base64":"AP8K"', b"\x00\xff\n"),
        (b'"metadata":{}', b""),
    ],
)
def test_stdin_gets_exactly_the_bytes_of_the_caller(
    api: Api, rows: Rows, account: Account, spell: str, case: tuple[bytes, bytes]
) -> None:
    sent, stdin = case
    content = b'{"spell":"%b",%b}' % (spell.encode(), sent)
    answer = api.http.post(
        "/v1/casts", content=content, headers={**account.headers, "content-type": "application/json"}
    )
    assert answer.status_code == 202, answer.text
    assert rows.execute("SELECT input FROM casts WHERE id = %(id)s", answer.json()) == [(stdin,)]


def test_headers_tell_the_rate_the_budget_and_the_open_casts(
    api: Api, rows: Rows, spell: str, account: Account
) -> None:
    rows.budget(account, 10_000_000)
    limited = rows.key(account.id, account.handle, rpm=60)
    answer = cast(api, limited, {"spell": spell}, x_request_id="abc-1")

    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["ratelimit-policy"] == '"default";q=60;w=60'
    assert answer.headers["ratelimit"] == '"default";r=59;t=1'
    assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]) == ("60", "59")
    assert abs(int(answer.headers["x-ratelimit-reset"]) - time.time()) < 5
    budget = [answer.headers[f"budget-{name}"] for name in ("limit", "spent", "held")]
    assert budget == ["10000000", "0", "2500"]
    assert int(answer.headers["budget-reset"]) > time.time()
    assert (answer.headers["open-casts"], answer.headers["open-casts-limit"]) == ("1", "100000")
    shown = api.http.get(f"/v1/casts/{answer.json()['id']}", headers=limited.headers).headers
    assert shown["budget-held"] == "2500"


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, "spell"),
        ({"spell": 1}, "spell"),
        ({"spell": "SPELL", "inputt": 1}, "inputt"),
        ({"spell": "SPELL", "limits": {"cpu": 1}}, "limits.cpu"),
        ({"spell": "SPELL", "limits": {"fuel": 0}}, "limits.fuel"),
        ({"spell": "SPELL", "limits": {"fuel": 10**13}}, "limits.fuel"),
        ({"spell": "SPELL", "pool": "default"}, "pool"),
        ({"spell": "SPELL", "deadline_ms": 0}, "deadline_ms"),
        ({"spell": "SPELL", "input": 1, "input_base64": "AA=="}, "input_base64"),
        ({"spell": "SPELL", "input_base64": "?"}, "input_base64"),
        ({"spell": "SPELL", "input": "x" * 1_100_000}, "input"),
        ({"spell": "SPELL", "metadata": [1]}, "metadata"),
        ({"spell": "SPELL", "metadata": {"a": "\0"}}, "metadata"),
        ({"spell": "SPELL", "metadata": {"a": "x" * 5_000}}, "metadata"),
        ({"spell": "no-slash"}, "spell"),
    ],
)
def test_a_body_that_does_not_fit_is_422_and_says_where(
    api: Api, account: Account, spell: str, body: dict[str, Any], location: str
) -> None:
    if body.get("spell") == "SPELL":
        body = {**body, "spell": spell}
    answer = cast(api, account, body)
    problem = answer.json()
    assert (answer.status_code, problem["error"]) == (422, "validation"), problem
    assert [fault["location"] for fault in problem["errors"]] == [location]
    assert problem["errors"][0]["message"]
    assert problem["errors"][0]["fix"]


@pytest.mark.parametrize("url", ["http://example.com", "https://10.0.0.1/", "https://a:b@example.com", "x", ""])
def test_a_webhook_url_that_cannot_be_meant_is_refused(api: Api, account: Account, spell: str, url: str) -> None:
    answer = cast(api, account, {"spell": spell, "webhook_url": url})
    problem = answer.json()
    assert (answer.status_code, problem["error"]) == (422, "validation")
    assert [fault["location"] for fault in problem["errors"]] == ["webhook_url"]


def test_input_is_checked_against_the_schema_of_the_version(api: Api, rows: Rows, account: Account) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    strict = rows.spell(account, "strict", manifest={"input_schema": schema})
    assert cast(api, account, {"spell": strict, "input": {"n": 1}}).status_code == 202
    refused = cast(api, account, {"spell": strict, "input": {"n": "x"}})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["location"] == "input.n"
    nothing = cast(api, account, {"spell": strict})
    assert nothing.status_code == 422


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"\xff", 400, "malformed"),
        (b'{"spell":"a/b","input":"\xff"}', 400, "malformed"),
        (b'{"spell":"a/b","input":"\\ud800"}', 400, "malformed"),
        (b'{"spell":"a/b","input":' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400, "malformed"),
        (b"[]", 422, "validation"),
        (b'{"spell":"nobody/nothing"}', 404, "not_found"),
    ],
)
def test_bytes_that_are_no_request(api: Api, account: Account, content: bytes, status: int, error: str) -> None:
    answer = api.http.post(
        "/v1/casts", content=content, headers={**account.headers, "content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_problems_are_rfc_9457_and_their_type_is_a_page(api: Api, account: Account) -> None:
    answer = cast(api, account, {}, x_request_id="r-1")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"{api.url}/docs/errors/validation"
    assert (problem["status"], problem["instance"], problem["request_id"]) == (422, "/v1/casts", "r-1")
    assert problem["retryable"] is False
    page = api.http.get(problem["type"])
    assert page.status_code == 200
    assert "validation" in page.text


def test_media_type_size_and_method(api: Api, account: Account) -> None:
    wrong_type = api.http.post("/v1/casts", content=b"{}", headers={**account.headers, "content-type": "text/plain"})
    assert (wrong_type.status_code, wrong_type.json()["error"]) == (415, "unsupported_media_type")
    headers = {**account.headers, "content-type": "application/json"}
    too_long = api.http.post("/v1/casts", content=b" " * (8 * 1024 * 1024 + 1), headers=headers)
    assert (too_long.status_code, too_long.json()["error"]) == (413, "payload_too_large")
    streamed = api.http.post("/v1/casts", content=(b" " * 1_000_000 for _ in range(9)), headers=headers)
    assert streamed.status_code == 413
    method = api.http.delete("/v1/cast", headers=account.headers)
    assert (method.status_code, method.headers["allow"]) == (405, "POST")


def test_another_accounts_cast_is_not_found(api: Api, rows: Rows, account: Account, spell: str) -> None:
    cast_id = cast(api, account, {"spell": spell}).json()["id"]
    other = rows.account()
    for method, path in (("GET", ""), ("GET", "/log"), ("GET", "/events"), ("POST", "/cancel")):
        answer = api.http.request(method, f"/v1/casts/{cast_id}{path}", headers=other.headers)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert api.http.get(f"/v1/casts/{uuid4()}", headers=account.headers).status_code == 404
    assert api.http.get("/v1/casts", headers=other.headers).json()["data"] == []


def test_an_idempotency_key_replays_the_cast_as_it_is_now(api: Api, rows: Rows, account: Account, spell: str) -> None:
    first = cast(api, account, {"spell": spell, "input": 1}, idempotency_key="k1")
    again = cast(api, account, {"spell": spell, "input": 1}, idempotency_key="k1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()

    rows.finish(first.json()["id"])
    ended = cast(api, account, {"spell": spell, "input": 1}, idempotency_key="k1")
    assert (ended.status_code, ended.json()["output"]) == (200, 42)
    other_body = cast(api, account, {"spell": spell, "input": 2}, idempotency_key="k1")
    assert (other_body.status_code, other_body.json()["error"]) == (422, "idempotency_key_reused")
    assert rows.execute("SELECT count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id}) == [(1,)]


def test_equal_requests_at_one_moment_are_one_cast(api: Api, rows: Rows, account: Account, spell: str) -> None:
    with ThreadPoolExecutor(16) as threads:
        bodies = [{"spell": spell, "input": 1}] * 16
        answers = list(threads.map(lambda body: cast(api, account, body, idempotency_key="same"), bodies))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 15
    assert rows.execute("SELECT count(*) FROM casts WHERE account_id = %(id)s", {"id": account.id}) == [(1,)]


def test_a_refusal_is_not_remembered(api: Api, rows: Rows, account: Account, spell: str) -> None:
    budget_id = rows.budget(account, 100)
    assert cast(api, account, {"spell": spell}, idempotency_key="k").status_code == 402
    rows.execute("UPDATE budgets SET hard_limit_micros = 100000 WHERE id = %(id)s", {"id": budget_id})
    rows.execute("UPDATE budget_windows SET hard_limit_micros = 100000 WHERE budget_id = %(id)s", {"id": budget_id})
    assert cast(api, account, {"spell": spell}, idempotency_key="k").status_code == 202


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb"])
def test_an_idempotency_key_that_cannot_be_kept(api: Api, account: Account, spell: str, key: str) -> None:
    answer = cast(api, account, {"spell": spell}, idempotency_key=key)
    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, "Idempotency-Key")


@pytest.mark.parametrize(
    "case",
    [
        ({}, b' {"n": 1}\n', "json", {"n": 1}),
        ({}, "grüß".encode(), "text", "grüß"),
        ({}, b"", "text", ""),
        ({}, b"\xff\x00", "base64", base64.b64encode(b"\xff\x00").decode()),
        ({"output_encoding": "text"}, b"1", "text", "1"),
        ({"output_encoding": "base64"}, b"1", "base64", "MQ=="),
        ({"output_encoding": "json"}, b"no json", "text", "no json"),
    ],
)
def test_output_is_shown_as_the_manifest_says_or_as_the_first_that_fits(
    api: Api, rows: Rows, account: Account, case: tuple[dict[str, Any], bytes, str, Any]
) -> None:
    manifest, output, encoding, shown = case
    spell = rows.spell(account, f"s{uuid4().hex[:8]}", manifest=manifest)
    cast_id = cast(api, account, {"spell": spell}).json()["id"]
    rows.finish(cast_id, output=output, log=b"hi \xff")
    body = api.http.get(f"/v1/casts/{cast_id}", headers=account.headers).json()
    assert (body["output_encoding"], body["output"], body["log"]) == (encoding, shown, "hi \ufffd")
    assert body["usage"]["cpu_ms"] == 1.5
    assert body["cost"]["cost_micros"] == 1_001
    log = api.http.get(f"/v1/casts/{cast_id}/log", headers=account.headers)
    assert (log.content, log.headers["content-type"]) == (b"hi \xff", "text/plain; charset=utf-8")


def test_casts_are_listed_newest_first_page_by_page(api: Api, rows: Rows, account: Account, spell: str) -> None:
    made = [cast(api, account, {"spell": spell, "input": n}).json()["id"] for n in range(5)]
    rows.finish(made[1])
    found: list[str] = []
    path = "/v1/casts?limit=2"
    while path:
        answer = api.http.get(path, headers=account.headers)
        page = answer.json()
        found += [one["id"] for one in page["data"]]
        assert page["has_more"] is (page["next_cursor"] is not None)
        path = answer.links["next"]["url"] if page["has_more"] else ""
    assert found == made[::-1]

    def ids(query: str) -> list[str]:
        return [one["id"] for one in api.http.get(f"/v1/casts?{query}", headers=account.headers).json()["data"]]

    assert ids("status=succeeded") == [made[1]]
    assert ids(f"spell={spell}") == made[::-1]
    assert ids("spell=nobody/nothing") == []
    assert ids(f"key={account.prefix}") == made[::-1]
    assert ids("created_after=2100-01-01T00:00:00Z") == []
    assert ids("created_before=2100-01-01T00:00:00Z") == made[::-1]
    for wrong in ("limit=0", "limit=101", "status=done", "cursor=!", "created_after=now", "unknown=1"):
        assert api.http.get(f"/v1/casts?{wrong}", headers=account.headers).status_code == 422, wrong


def test_cancel_before_start_is_free_and_may_be_repeated(api: Api, rows: Rows, account: Account, spell: str) -> None:
    cast_id = cast(api, account, {"spell": spell}).json()["id"]
    for _ in range(2):
        answer = api.http.post(f"/v1/casts/{cast_id}/cancel", headers=account.headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
        assert answer.json()["cost"]["cost_micros"] == 0
    assert rows.execute("SELECT open_casts FROM accounts WHERE id = %(id)s", {"id": account.id}) == [(0,)]


def test_every_cast_has_an_id_of_its_own(api: Api, account: Account, spell: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: cast(api, account, {"spell": spell, "input": n}), range(64)))
    assert len({UUID(answer.json()["id"]) for answer in answers}) == 64
