"""What Stripe answers, and what becomes of it here: a server on a socket says each answer byte by byte."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, unquote

import msgspec
import pytest

from domain.environment import Secret
from domain.model.stripe_objects import CheckoutSession, Customer, PortalSession, Subscription
from domain.vendor_settings import StripeSettings
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeBusy, StripeFailure, StripeRefused, StripeUnknown
from gateways.stripe.link import API_VERSION

KEY: Final = "sk_test_Canary0Canary0Canary0"
CUSTOMER = {"id": "cus_1", "object": "customer", "email": "ada@example.com", "metadata": {"account_id": "a1"}}
SUBSCRIPTION = {
    "id": "sub_1",
    "object": "subscription",
    "customer": "cus_1",
    "status": "active",
    "created": 1_790_000_000,
    "cancel_at": None,
    "cancel_at_period_end": False,
    "pause_collection": None,
    "latest_invoice": "in_1",
    "metadata": {"account_id": "a1"},
    "items": {
        "object": "list",
        "data": [
            {
                "id": "si_1",
                "object": "subscription_item",
                "current_period_end": 1_792_592_000,
                "price": {"id": "price_pro", "object": "price"},
            }
        ],
    },
}
SESSION = {
    "id": "cs_1",
    "object": "checkout.session",
    "url": "https://checkout.example/cs_1",
    "mode": "payment",
    "status": "open",
    "payment_status": "unpaid",
    "client_reference_id": "order-1",
    "customer": {"id": "cus_1", "object": "customer"},
    "subscription": None,
    "payment_intent": "pi_1",
    "amount_total": 999,
    "currency": "usd",
    "metadata": {"order_id": "order-1"},
}
READ = Subscription(
    id="sub_1",
    customer_id="cus_1",
    status="active",
    created_at=datetime.fromtimestamp(1_790_000_000, tz=UTC),
    item_id="si_1",
    price_id="price_pro",
    current_period_end=datetime.fromtimestamp(1_792_592_000, tz=UTC),
    ends_at=None,
    is_collecting=True,
    latest_invoice_id="in_1",
    metadata={"account_id": "a1"},
)


class Asked(msgspec.Struct, frozen=True):
    line: str
    headers: dict[str, str]
    fields: dict[str, str]


class Wire:
    """A server that gives one answer to everything; an empty one hangs up, None never comes."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.asked.append(Asked(unquote(head[0]), headers, fields))
        if self.answer is not None:
            writer.write(self.answer)
            writer.write_eof()
        # Until the other side has closed: an abort before that would take the bytes along.
        await reader.read()
        writer.transport.abort()
        self._tasks.discard(task)

    async def close(self) -> None:
        await asyncio.gather(*self._tasks)


def answer(status: int, body: object, **headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(raw)}", "request-id: req_7", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def problem(status: int, **error: str) -> bytes:
    return answer(status, {"error": error})


@asynccontextmanager
async def stripe_says(said: bytes | None, *, seconds_max: float = 60.0) -> AsyncGenerator[tuple[StripeGateway, Wire]]:
    wire = Wire(said)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    settings = StripeSettings(
        secret_key=Secret(KEY),
        webhook_secret=Secret("whsec_x"),
        price_pro="price_pro",
        api_base=f"http://127.0.0.1:{wire.port}",
    )
    async with StripeGateway(settings, seconds_max=seconds_max) as gateway:
        yield gateway, wire
    server.close()
    await wire.close()


async def failure(said: bytes | None, *, seconds_max: float = 60.0) -> StripeFailure:
    async with stripe_says(said, seconds_max=seconds_max) as (gateway, wire):
        with pytest.raises(StripeFailure) as caught:
            await gateway.customers.create(email=None, name="Ada", account_id="a1", key="k")
        assert len(wire.asked) == 1, "nothing is repeated on its own"
    seen = f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {vars(caught.value)}"
    assert KEY not in seen
    return caught.value


async def test_a_customer_is_made_with_our_key_and_version() -> None:
    async with stripe_says(answer(200, CUSTOMER)) as (gateway, wire):
        made = await gateway.customers.create(email="ada@example.com", name="Ada", account_id="a1", key="key-1")
    assert made == Customer(id="cus_1", email="ada@example.com", metadata={"account_id": "a1"})
    (asked,) = wire.asked
    assert asked.line == "POST /v1/customers HTTP/1.1"
    assert asked.fields == {"name": "Ada", "email": "ada@example.com", "metadata[account_id]": "a1"}
    assert (asked.headers["idempotency-key"], asked.headers["stripe-version"]) == ("key-1", API_VERSION)
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert "x-stripe-client-telemetry" not in asked.headers
    assert "platform" not in json.loads(asked.headers["x-stripe-client-user-agent"])


async def test_a_deleted_customer_says_so() -> None:
    async with stripe_says(answer(200, {"id": "cus_1", "object": "customer", "deleted": True})) as (gateway, wire):
        found = await gateway.customers.retrieve("cus_1")
    assert found == Customer(id="cus_1", email=None, metadata={}, is_deleted=True)
    assert wire.asked[0].line == "GET /v1/customers/cus_1 HTTP/1.1"


async def test_a_subscription_is_checked_out() -> None:
    async with stripe_says(answer(200, {**SESSION, "mode": "subscription"})) as (gateway, wire):
        made = await gateway.checkout.subscribe(
            customer_id="cus_1",
            price_id="price_pro",
            reference="a1",
            metadata={"account_id": "a1"},
            success_url="https://here/good",
            cancel_url="https://here/bad",
            key="k",
        )
    assert (made.mode, made.url) == ("subscription", "https://checkout.example/cs_1")
    assert wire.asked[0].fields == {
        "mode": "subscription",
        "customer": "cus_1",
        "client_reference_id": "a1",
        "line_items[0][price]": "price_pro",
        "line_items[0][quantity]": "1",
        "metadata[account_id]": "a1",
        "subscription_data[metadata][account_id]": "a1",
        "success_url": "https://here/good",
        "cancel_url": "https://here/bad",
    }


async def test_a_metered_price_has_no_quantity() -> None:
    async with stripe_says(answer(200, SESSION)) as (gateway, wire):
        await gateway.checkout.subscribe(
            customer_id="cus_1",
            price_id="price_pro",
            reference="a1",
            metadata={},
            success_url="https://here/good",
            cancel_url="https://here/bad",
            key="k",
            quantity=None,
        )
    assert "line_items[0][quantity]" not in wire.asked[0].fields


@pytest.mark.parametrize("keeps_card", [False, True])
async def test_an_order_is_checked_out(*, keeps_card: bool) -> None:
    async with stripe_says(answer(200, SESSION)) as (gateway, wire):
        made = await gateway.checkout.pay(
            customer_id="cus_1",
            price_id="price_starter",
            reference="order-1",
            metadata={"order_id": "order-1"},
            success_url="https://here/good",
            cancel_url="https://here/bad",
            key="k",
            keeps_card=keeps_card,
        )
    assert made == CheckoutSession(
        id="cs_1",
        url="https://checkout.example/cs_1",
        mode="payment",
        status="open",
        payment_status="unpaid",
        client_reference_id="order-1",
        customer_id="cus_1",
        subscription_id=None,
        payment_intent_id="pi_1",
        amount_total_cents=999,
        currency="usd",
        metadata={"order_id": "order-1"},
    )
    assert not made.is_paid
    fields = wire.asked[0].fields
    assert fields["payment_intent_data[metadata][order_id]"] == "order-1"
    assert fields.get("payment_intent_data[setup_future_usage]") == ("off_session" if keeps_card else None)


async def test_an_amount_is_checked_out() -> None:
    async with stripe_says(answer(200, SESSION)) as (gateway, wire):
        await gateway.checkout.pay_amount(
            customer_id="cus_1",
            amount_cents=999,
            product="1,000 credits",
            reference="order-1",
            metadata={},
            success_url="https://here/good",
            cancel_url="https://here/bad",
            key="k",
            keeps_card=True,
        )
    fields = wire.asked[0].fields
    assert fields["line_items[0][price_data][unit_amount]"] == "999"
    assert fields["line_items[0][price_data][product_data][name]"] == "1,000 credits"
    assert fields["payment_intent_data[setup_future_usage]"] == "off_session"


async def test_a_session_is_fetched_and_expired() -> None:
    async with stripe_says(answer(200, {**SESSION, "payment_status": "paid"})) as (gateway, wire):
        assert (await gateway.checkout.retrieve("cs_1")).is_paid
        await gateway.checkout.expire("cs_1", key="k")
    assert [asked.line.split()[1] for asked in wire.asked] == [
        "/v1/checkout/sessions/cs_1",
        "/v1/checkout/sessions/cs_1/expire",
    ]
    assert wire.asked[1].headers["idempotency-key"] == "k"


async def test_the_portal_is_opened() -> None:
    session = {"id": "bps_1", "object": "billing_portal.session", "url": "https://portal.example/1"}
    async with stripe_says(answer(200, session)) as (gateway, wire):
        opened = await gateway.portal.open(customer_id="cus_1", return_url="https://here/", key="k")
    assert opened == PortalSession(id="bps_1", url="https://portal.example/1")
    assert wire.asked[0].line.split()[1] == "/v1/billing_portal/sessions"


async def test_subscriptions_are_read_and_changed() -> None:
    async with stripe_says(answer(200, SUBSCRIPTION)) as (gateway, wire):
        assert await gateway.subscriptions.retrieve("sub_1") == READ
        assert await gateway.subscriptions.change_price("sub_1", item_id="si_1", price_id="price_2", key="k1") == READ
        await gateway.subscriptions.cancel_at_period_end("sub_1", key="k2")
        await gateway.subscriptions.keep("sub_1", key="k3")
        await gateway.subscriptions.cancel_now("sub_1", key="k4")
    assert [(asked.line.split()[0], asked.headers.get("idempotency-key")) for asked in wire.asked] == [
        ("GET", None),
        ("POST", "k1"),
        ("POST", "k2"),
        ("POST", "k3"),
        ("DELETE", "k4"),
    ]
    assert wire.asked[1].fields == {
        "items[0][id]": "si_1",
        "items[0][price]": "price_2",
        "proration_behavior": "create_prorations",
        "cancel_at_period_end": "false",
    }
    assert wire.asked[2].fields == {"cancel_at_period_end": "true"}
    assert wire.asked[3].fields == {"cancel_at_period_end": "false"}


@pytest.mark.parametrize(
    ("changes", "ends_at"),
    [
        ({"cancel_at_period_end": True}, 1_792_592_000),
        ({"cancel_at": 1_791_000_000}, 1_791_000_000),
        ({"cancel_at": 1_791_000_000, "cancel_at_period_end": True}, 1_791_000_000),
    ],
)
async def test_a_cancelled_subscription_says_when_it_ends(changes: dict[str, object], ends_at: int) -> None:
    async with stripe_says(answer(200, {**SUBSCRIPTION, **changes})) as (gateway, _):
        found = await gateway.subscriptions.retrieve("sub_1")
    assert found.ends_at == datetime.fromtimestamp(ends_at, tz=UTC)


async def test_a_customers_subscriptions_are_listed_ended_ones_too() -> None:
    empty = {**SUBSCRIPTION, "id": "sub_0", "status": "canceled", "items": {"object": "list", "data": []}}
    listed = {"object": "list", "has_more": False, "url": "/v1/subscriptions", "data": [SUBSCRIPTION, empty]}
    async with stripe_says(answer(200, listed)) as (gateway, wire):
        first, second = await gateway.subscriptions.of_customer("cus_1")
    assert first == READ
    assert (second.id, second.item_id, second.price_id, second.current_period_end) == ("sub_0", None, None, None)
    assert wire.asked[0].line.split()[1] == "/v1/subscriptions?customer=cus_1&status=all&limit=20"


@pytest.mark.parametrize(
    ("status", "error", "code", "param"),
    [
        (400, {"type": "invalid_request_error", "code": "parameter_unknown", "param": "x"}, "parameter_unknown", "x"),
        (400, {"type": "idempotency_error", "message": "other parameters"}, "idempotency_error", None),
        (401, {"type": "invalid_request_error"}, "invalid_request_error", None),
        (402, {"type": "card_error", "code": "card_declined"}, "card_declined", None),
        (403, {"type": "invalid_request_error"}, "invalid_request_error", None),
        (404, {"type": "invalid_request_error", "code": "resource_missing"}, "resource_missing", None),
        (422, {"type": "whatever"}, "whatever", None),
    ],
)
async def test_a_4xx_is_a_definite_no(status: int, error: dict[str, str], code: str, param: str | None) -> None:
    refused = await failure(problem(status, **{"message": f"No: {KEY} and whsec_Canary0", **error}))
    assert isinstance(refused, StripeRefused)
    assert (refused.status, refused.code, refused.param, refused.request_id) == (status, code, param, "req_7")
    assert refused.is_missing == (status == 404)
    assert "whsec_Canary0" not in str(refused)


async def test_too_many_requests_did_nothing() -> None:
    busy = await failure(answer(429, {"error": {"message": "slower"}}, retry_after="3"))
    assert isinstance(busy, StripeBusy)
    assert (busy.status, busy.retry_after_s) == (429, 3)
    assert isinstance(await failure(problem(400, code="rate_limit")), StripeBusy)
    assert isinstance(await failure(answer(429, {"error": {}}, retry_after="soon")), StripeBusy)


@pytest.mark.parametrize("status", [500, 502, 503, 409, 302])
async def test_whatever_else_it_answers_leaves_it_in_doubt(status: int) -> None:
    unknown = await failure(problem(status, message="oops"))
    assert isinstance(unknown, StripeUnknown)
    assert (unknown.status, unknown.is_replayed) == (status, False)


async def test_a_stored_500_is_told_apart() -> None:
    unknown = await failure(answer(500, {"error": {"message": "oops"}}, idempotent_replayed="true"))
    assert isinstance(unknown, StripeUnknown)
    assert unknown.is_replayed


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        answer(200, b"<html>"),
        answer(200, [1, 2]),
        answer(200, {"object": "customer"}),
        answer(500, b"<html>"),
        answer(404, b"<html>not Stripe at all"),
        b"not even HTTP\r\n\r\n",
    ],
)
async def test_half_an_answer_or_a_strange_one_leaves_it_in_doubt(said: bytes) -> None:
    assert isinstance(await failure(said), StripeUnknown)


async def test_an_answer_without_end_is_cut_off() -> None:
    assert isinstance(await failure(answer(200, b"x" * (8 * 1024 * 1024 + 1))), StripeUnknown)


async def test_no_answer_in_time_leaves_it_in_doubt() -> None:
    assert isinstance(await failure(None, seconds_max=0.2), StripeUnknown)


async def test_who_cannot_be_reached_did_nothing() -> None:
    async with stripe_says(b"") as (_, wire):
        port = wire.port
    unreachable = StripeSettings(
        secret_key=Secret(KEY), webhook_secret=Secret("w"), price_pro=None, api_base=f"http://127.0.0.1:{port}"
    )
    async with StripeGateway(unreachable) as gateway:
        with pytest.raises(StripeBusy, match="STRIPE_API_BASE"):
            await gateway.customers.retrieve("cus_1")
