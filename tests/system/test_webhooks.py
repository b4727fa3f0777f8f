"""A cast's end reaches a server of its owner's: over the whole platform, with the courier, on a real socket."""

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook

from operate.processes import COURIER
from tests.api.platform import Account
from tests.stack import Stack, until

EVERYTHING = ["casts:read", "casts:write", "webhooks:write"]


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """Return what it says; the library of the standard raises when it was not signed with `secret`, just now."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver(ThreadingHTTPServer):
    """Keeps what arrives; answers 500 to the first request under /broken, and 200 to everything else."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.arrived: list[Arrived] = []
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def at(self, path: str) -> list[Arrived]:
        with self.lock:
            return [one for one in self.arrived if one.path == path]

    def wait(self, path: str, count: int = 1) -> list[Arrived]:
        until(lambda: len(self.at(path)) >= count, f"{count} requests to {path} have arrived")
        return self.at(path)


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            first = not any(one.path == self.path for one in self.server.arrived)
            self.server.arrived.append(Arrived(path=self.path, headers=headers, body=body))
        self.send_response(500 if first and self.path.startswith("/broken") else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def receiver() -> Generator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def account(stack: Stack) -> Account:
    stack.start(COURIER)
    found = stack.account()
    query = "UPDATE api_keys SET scopes = %(scopes)s WHERE id = %(id)s"
    stack.rows.execute(query, {"scopes": EVERYTHING, "id": found.key_id})
    return found


@pytest.fixture
def http(stack: Stack, account: Account) -> Generator[httpx.Client]:
    with stack.client(account) as client:
        yield client
    stack.settle_all()
    assert stack.broken_books() == {}


def cast(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/cast", json={"spell": "dev/echo", "input": {"n": 7}, **body}, headers={"prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def subscribe(http: httpx.Client, url: str, *event_types: str) -> dict[str, Any]:
    answer = http.post("/v1/webhooks", json={"url": url, "event_types": event_types or ("*",)})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_an_endpoint_and_the_address_of_the_cast_are_told_and_can_verify(
    http: httpx.Client, receiver: Receiver
) -> None:
    endpoint = subscribe(http, receiver.url("/all"), "cast.succeeded")
    ended = cast(http, webhook_url=receiver.url("/of-the-cast"), metadata={"order": "17"})
    (to_endpoint,), (to_address,) = receiver.wait("/all"), receiver.wait("/of-the-cast")
    assert to_endpoint.id == to_address.id
    assert to_endpoint.headers["content-type"] == "application/json"
    event = to_endpoint.verified(endpoint["secret"])
    assert (event["type"], event["data"]) == ("cast.succeeded", {**ended, "data_omitted": False})
    assert event["data"]["metadata"] == {"order": "17"}
    account_secret = http.get("/v1/webhooks/secret").json()["secret"]
    assert to_address.verified(account_secret) == event
    (delivery,) = http.get(f"/v1/casts/{ended['id']}/deliveries").json()["data"]
    assert (delivery["event_id"], delivery["url"]) == (to_address.id, receiver.url("/of-the-cast"))


def test_what_failed_is_tried_again_logged_and_sent_again_on_demand(http: httpx.Client, receiver: Receiver) -> None:
    endpoint = subscribe(http, receiver.url("/broken"))
    one = f"/v1/webhooks/{endpoint['id']}"
    ended = cast(http)
    first, second = receiver.wait("/broken", 2)
    assert (first.id, first.body) == (second.id, second.body)
    assert second.verified(endpoint["secret"])["data"]["id"] == ended["id"]

    def delivered() -> dict[str, Any] | None:
        (delivery,) = http.get(f"{one}/deliveries").json()["data"]
        return delivery if delivery["status"] == "delivered" else None

    until(delivered, "the delivery is logged")
    delivery = delivered()
    assert delivery is not None
    assert [attempt["status_code"] for attempt in delivery["attempt_log"]] == [500, 200]
    assert delivery["attempt_log"][0]["request_headers"]["webhook-id"] == first.id
    again = http.post(f"{one}/deliveries/{delivery['id']}/redeliver")
    assert again.status_code == 202, again.text
    assert receiver.wait("/broken", 3)[2].id == first.id


def test_a_rotated_secret_and_the_one_before_both_verify(http: httpx.Client, receiver: Receiver) -> None:
    endpoint = subscribe(http, receiver.url("/rotated"), "cast.canceled")
    one = f"/v1/webhooks/{endpoint['id']}"
    rotated = http.post(f"{one}/rotate-secret", json={"grace_seconds": 3600}).json()
    assert http.post(f"{one}/test").status_code == 202
    (arrived,) = receiver.wait("/rotated")
    for secret in (endpoint["secret"], rotated["secret"]):
        assert arrived.verified(secret)["type"] == "webhook.test"


def test_who_follows_gets_what_an_endpoint_would_get(http: httpx.Client) -> None:
    begun = http.get("/v1/webhooks/events").json()
    ended = cast(http)
    page = http.get(f"/v1/webhooks/events?after={begun['next_cursor']}", headers={"prefer": "wait=20"}).json()
    (event,) = page["data"]
    secret = http.get("/v1/webhooks/secret").json()["secret"]
    assert Webhook(secret).verify(event["body"], event["headers"])["data"]["id"] == ended["id"]


def test_a_budget_at_its_soft_limit_is_told(http: httpx.Client, receiver: Receiver) -> None:
    endpoint = subscribe(http, receiver.url("/budget"), "budget.threshold_reached")
    budget = http.post("/v1/budgets", json={"period": "monthly", "soft_limit_cents": 0}).json()
    for _ in range(2):
        cast(http)
    (arrived,) = receiver.wait("/budget")
    data = arrived.verified(endpoint["secret"])["data"]
    assert (data["budget_id"], data["percent"]) == (budget["id"], 100)
