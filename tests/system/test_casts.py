"""One cast after another through the whole platform, as a caller sees it."""

import base64
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.stack import Stack, until

LONG = {"fuel": 20_000_000_000, "wall_ms": 20_000}


@pytest.fixture
def http(stack: Stack) -> Generator[httpx.Client]:
    account = stack.account()
    with stack.client(account) as client:
        yield client
    stack.settle_all()
    assert stack.broken_books() == {}


def order(client: httpx.Client, spell: str, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/casts", json={"spell": f"dev/{spell}", **body}, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


def look(client: httpx.Client, cast_id: str) -> dict[str, Any]:
    answer = client.get(f"/v1/casts/{cast_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def final(client: httpx.Client, cast_id: str) -> dict[str, Any]:
    until(lambda: look(client, cast_id)["status"] not in {"queued", "running"}, f"cast {cast_id} has ended")
    return look(client, cast_id)


def test_a_cast_is_accepted_run_settled_and_shown_with_what_it_cost(http: httpx.Client) -> None:
    accepted = order(http, "echo", input={"b": 1, "a": [1.50, None]})
    assert accepted["status"] == "queued"
    held = accepted["cost"]["held_micros"]
    ended = final(http, accepted["id"])
    assert ended["status"] == "succeeded"
    assert ended["output"] == {"b": 1, "a": [1.5, None]}
    assert ended["exit_code"] == 0
    fuel, cost = ended["usage"]["fuel"], ended["cost"]["cost_micros"]
    assert cost == 1_000 + -(-fuel * 1_500 // 10**9)
    assert cost <= held
    assert ended["attempts"] == 1


def test_the_answer_of_a_waiting_cast_is_what_reading_it_says(http: httpx.Client) -> None:
    answer = http.post("/v1/cast", json={"spell": "dev/echo", "input": "hello"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"] == "hello"
    assert answer.json() == look(http, answer.json()["id"])


def test_a_failed_guest_says_why_and_costs_what_it_used(http: httpx.Client) -> None:
    answer = http.post("/v1/cast", json={"spell": "dev/fail"})
    assert answer.status_code == 200, answer.text
    ended = answer.json()
    assert (ended["status"], ended["exit_code"], ended["error"]["code"]) == ("failed", 3, "exit_nonzero")
    assert ended["output"] == "No."
    assert ended["log"] == "No."
    assert ended["cost"]["cost_micros"] >= 1_000


def test_the_same_idempotency_key_is_one_cast_on_either_api(stack: Stack, http: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once", **http.headers}
    body = {"spell": "dev/echo", "input": 1}

    def send(number: int) -> httpx.Response:
        return httpx.post(f"{stack.urls[number % 2]}/v1/casts", json=body, headers=headers, trust_env=False)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(8)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    final(http, answers[0].json()["id"])
    other = http.post("/v1/casts", json={**body, "input": 2}, headers={"Idempotency-Key": "once"})
    assert other.status_code == 422
    assert other.json()["error"] == "idempotency_key_reused"


def test_a_running_cast_is_canceled_and_pays_its_fee_a_waiting_one_nothing(http: httpx.Client) -> None:
    running = [order(http, "spin", limits=LONG)["id"] for _ in range(2)]
    for cast_id in running:
        until(lambda cast_id=cast_id: look(http, cast_id)["status"] == "running", "it runs")
    waiting = order(http, "spin", limits=LONG)["id"]
    assert http.post(f"/v1/casts/{waiting}/cancel").status_code in {200, 202}
    ended = final(http, waiting)
    assert (ended["status"], ended["cost"]["cost_micros"]) == ("canceled", 0)
    for cast_id in running:
        assert http.post(f"/v1/casts/{cast_id}/cancel").status_code in {200, 202}
    for cast_id in running:
        ended = final(http, cast_id)
        assert ended["status"] == "canceled"
        assert ended["cost"]["cost_micros"] == 1_000
    assert http.post("/v1/cast", json={"spell": "dev/echo", "input": 1}).json()["output"] == 1


def test_a_cast_whose_deadline_passes_before_it_runs_costs_nothing(stack: Stack, http: httpx.Client) -> None:
    stack.stop("worker")
    late = order(http, "echo", input=1, deadline_ms=1)["id"]
    until(
        lambda: stack.rows.execute(
            "SELECT deadline_at + interval '3 s' < clock_timestamp() FROM casts WHERE id = %(id)s", {"id": late}
        )[0][0],
        "the deadline has passed by more than clocks may differ",
    )
    stack.start("worker")
    ended = final(http, late)
    assert ended["error"]["code"] == "deadline_passed"
    assert ended["cost"]["cost_micros"] == 0


def test_one_bad_row_fails_alone(http: httpx.Client) -> None:
    good = [order(http, "echo", input=number)["id"] for number in range(30)]
    odd = [
        order(http, "unprintable")["id"],
        order(http, "echo", input_base64=base64.b64encode(b"\x00\xff\xfe").decode())["id"],
    ]
    headers = {"Content-Type": "application/json"}
    for text in (b'"\\u0000"', b"1e400000", b'"\\ud800"'):
        answer = http.post("/v1/casts", content=b'{"spell": "dev/echo", "input": ' + text + b"}", headers=headers)
        assert answer.status_code in {202, 400, 422}, answer.text
        if answer.status_code == 202:
            odd.append(answer.json()["id"])
    good += [order(http, "echo", input=number)["id"] for number in range(30, 60)]
    assert [final(http, cast_id)["output"] for cast_id in good] == list(range(60))
    for cast_id in odd:
        ended = final(http, cast_id)
        assert ended["status"] == "succeeded"
        assert look(http, cast_id)["output_encoding"] in {"json", "text", "base64"}
    raw = look(http, odd[0])
    assert base64.b64decode(raw["output"]) == b"\x00\xff\xc3"


def test_a_long_input_and_output_travel_beside_the_stream(http: httpx.Client) -> None:
    text = "spell " * 100_000
    answer = http.post("/v1/cast", json={"spell": "dev/echo", "input": text})
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"] == text
