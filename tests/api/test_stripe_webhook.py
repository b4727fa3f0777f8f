"""Where Stripe tells its news: what is kept, what is not, and what is counted."""

import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from stripe import WebhookSignature

from api.billing.stripe_webhook import BODY_BYTES_MAX, PATHS
from local.servers import Servers
from tests.api.platform import Api, Rows, run_api

SECRET = "whsec_of_this_test"
STRIPE = {"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_API_BASE": "http://127.0.0.1:1"}


@pytest.fixture(scope="module")
def api(api_database_url: str, servers: Servers, rows: Rows, folder: Path) -> Generator[Api]:
    del rows
    with run_api(api_database_url, servers.redis_url, folder, **STRIPE) as running:
        yield running


def event(event_id: str, kind: str = "invoice.paid", **changed: Any) -> str:
    thing = {"id": "in_1", "object": "invoice", "customer": "cus_1"}
    return json.dumps(
        {"id": event_id, "object": "event", "type": kind, "created": 1, "data": {"object": thing}, **changed}
    )


def tell(
    api: Api, body: str, *, secret: str = SECRET, age_s: int = 0, path: str = PATHS[0], signed: str | None = None
) -> httpx.Response:
    header = WebhookSignature.generate_signature_header(signed or body, secret, timestamp=int(time.time()) - age_s)
    return api.http.post(path, content=body.encode(), headers={"stripe-signature": header})


def kept(rows: Rows, event_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT type, object_id, customer_id, status FROM stripe_events WHERE id = %(id)s"
    return rows.execute(query, {"id": event_id})


def counted(api: Api, kind: str, result: str) -> float:
    name = f'spell_stripe_webhook_total{{result="{result}",type="{kind}"}} '
    lines = [line for line in api.http.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


@pytest.mark.parametrize("path", PATHS)
def test_an_event_is_kept_and_only_then_answered(api: Api, rows: Rows, path: str) -> None:
    name = f"evt_kept{path.replace('/', '_')}"
    before = counted(api, "invoice.paid", "stored")
    answer = tell(api, event(name), path=path)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert kept(rows, name) == [("invoice.paid", "in_1", "cus_1", "pending")]
    assert counted(api, "invoice.paid", "stored") == before + 1


def test_a_duplicate_is_answered_alike_and_kept_once(api: Api, rows: Rows) -> None:
    before = counted(api, "invoice.paid", "duplicate")
    answers = [tell(api, event("evt_twice")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len(kept(rows, "evt_twice")) == 1
    assert counted(api, "invoice.paid", "duplicate") == before + 2


@pytest.mark.parametrize(
    ("options", "result"),
    [
        ({"secret": "whsec_another"}, "bad_signature"),
        ({"signed": event("evt_bad").replace("cus_1", "cus_2")}, "bad_signature"),
        ({"age_s": 302}, "too_old"),
        ({"age_s": -302}, "too_old"),
    ],
)
def test_what_is_not_signed_by_stripe_now_is_not_kept(
    api: Api, rows: Rows, options: dict[str, Any], result: str
) -> None:
    before = counted(api, "unknown", result)
    answer = tell(api, event("evt_bad"), **options)
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_signature")
    assert kept(rows, "evt_bad") == []
    assert counted(api, "unknown", result) == before + 1


def test_without_a_signature(api: Api, rows: Rows) -> None:
    for headers in ({}, {"stripe-signature": "nonsense"}, {"stripe-signature": "t=1,v1="}):
        answer = api.http.post(PATHS[0], content=event("evt_bare").encode(), headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (400, "bad_signature")
    assert kept(rows, "evt_bare") == []


@pytest.mark.parametrize("body", ["", "{}", "[", event("evt_old", object="v2.core.event")])
def test_signed_and_yet_no_event(api: Api, rows: Rows, body: str) -> None:
    answer = tell(api, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed")
    assert kept(rows, "evt_old") == []


def test_a_body_has_a_bound(api: Api) -> None:
    assert tell(api, " " * (BODY_BYTES_MAX + 1)).status_code == 413


def test_a_type_of_tomorrow_is_kept_and_counted_with_its_like(api: Api, rows: Rows) -> None:
    assert tell(api, event("evt_odd", "A very odd type " * 9)).status_code == 200
    assert kept(rows, "evt_odd")[0][0].startswith("A very odd")
    assert counted(api, "other", "stored") == 1


def test_stripe_is_not_limited_and_whoever_cannot_sign_is(
    api_database_url: str, servers: Servers, folder: Path, rows: Rows
) -> None:
    with run_api(api_database_url, servers.redis_url, folder, **STRIPE, RATE_LIMIT_ANON_RPM="5") as api:
        assert [tell(api, event(f"evt_many_{n}")).status_code for n in range(30)] == [200] * 30
        refused = [tell(api, event("evt_forged"), secret="whsec_no").status_code for _ in range(20)]
        assert set(refused) == {400, 429}
        assert tell(api, event("evt_after")).status_code == 200
    assert kept(rows, "evt_forged") == []


def test_without_keys_it_says_so(api_database_url: str, servers: Servers, folder: Path) -> None:
    with run_api(api_database_url, servers.redis_url, folder) as api:
        answer = tell(api, event("evt_off"))
        assert (answer.status_code, answer.json()["error"], answer.json()["retryable"]) == (404, "billing_off", False)
