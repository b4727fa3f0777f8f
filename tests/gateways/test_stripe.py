"""What Stripe answers, and what becomes of it here: a server on a socket says each answer byte by byte."""

import json
from datetime import UTC, datetime

import pytest

from domain.model.stripe_objects import CheckoutSession, Customer, PortalSession, Subscription
from gateways.stripe.link import API_VERSION
from tests.gateways.stripe_wire import KEY, answer, stripe_says

CUSTOMER = {
    "id": "cus_1",
    "object": "customer",
    "email": "ada@example.com",
    "metadata": {"account_id": "a1"},
    "invoice_settings": {"default_payment_method": None},
}
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
    "default_payment_method": "pm_1",
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
    payment_method_id="pm_1",
    latest_invoice_id="in_1",
    metadata={"account_id": "a1"},
)


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


async def test_a_customer_is_given_what_pays() -> None:
    paying = {**CUSTOMER, "invoice_settings": {"default_payment_method": "pm_1"}}
    async with stripe_says(answer(200, paying)) as (gateway, wire):
        assert (await gateway.customers.pay_with("cus_1", "pm_1")).payment_method_id == "pm_1"
    (asked,) = wire.asked
    assert asked.line == "POST /v1/customers/cus_1 HTTP/1.1"
    assert asked.fields == {"invoice_settings[default_payment_method]": "pm_1"}


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
