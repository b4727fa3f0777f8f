"""Credits with both clients: what they send, how they read it, what they never do twice."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from spell import InsufficientCredits
from tests.spell.sdk.clients import Do
from tests.spell.sdk.servers import Scripted, answer, refusal

PACKAGE = {"id": "starter", "name": "Starter", "credits": 1000, "price_cents": 999, "usage_micros": 10**7}
CHANGE = {
    "id": 2, "amount": -30, "balance_before": 100, "balance_after": 70, "transaction_type": "consume",
    "created_at": "2026-11-20T15:00:00Z", "amount_micros": -300_000, "balance_before_micros": 10**6,
    "balance_after_micros": 700_000, "a_field_of_tomorrow": 1,
}  # fmt: skip
ORDER = {
    "id": "o1", "status": "pending", "origin": "checkout", "package": "starter", "credits": 1000, "price_cents": 999,
    "created_at": "2026-11-20T15:00:00Z",
}  # fmt: skip
TOP_UP = {"enabled": True, "package": "writer", "threshold": 500, "monthly_cap_cents": 10_000}
BALANCE = {
    "user_id": "u1", "balance": 70, "total_purchased": 100, "total_consumed": 30, "available": 70,
    "balance_micros": 700_000, "held_micros": 0, "available_micros": 700_000, "credit_micros": 10_000,
    "auto_top_up": TOP_UP,
}  # fmt: skip


def body_of(server: Scripted) -> Any:
    return json.loads(server.seen[-1].body)


def test_what_there_is(server: Scripted, do: Do) -> None:
    server.will(answer(200, {"packages": [PACKAGE]}), answer(200, BALANCE), answer(200, ORDER))
    (package,) = do(server.url, lambda client: client.credits.packages())
    assert (package.id, package.price_cents, package.currency) == ("starter", 999, "usd")
    balance = do(server.url, lambda client: client.credits.balance())
    assert (balance.available, balance.auto_top_up.threshold) == (70, 500)
    assert do(server.url, lambda client: client.credits.order("o1")).status == "pending"
    assert [seen.path for seen in server.seen] == [
        "/v1/credits/packages", "/v1/credits/balance", "/v1/credits/orders/o1",
    ]  # fmt: skip


def test_history_and_orders_page_after_page(server: Scripted, do: Do) -> None:
    page = {"next_cursor": "c", "has_more": True}
    server.will(answer(200, {"data": [CHANGE], **page}), answer(200, {"data": [{**CHANGE, "id": 1}]}))
    after = datetime(2026, 11, 1, tzinfo=UTC)
    found = do(server.url, lambda client: client.credits.history(created_after=after, page_size=1))
    assert [one.id for one in found] == [2, 1]
    assert found[0].amount_micros == -300_000
    assert "created_after=2026-11-01T00%3A00%3A00%2B00%3A00" in server.seen[0].path
    assert server.seen[1].path.endswith("cursor=c")
    server.will(answer(200, {"data": [ORDER]}))
    assert [one.package for one in do(server.url, lambda client: client.credits.orders())] == ["starter"]


def test_buying_is_tried_again_under_one_key(server: Scripted, do: Do) -> None:
    made = {
        "order_id": "o1",
        "session_id": "cs_1",
        "checkout_url": "http://pay",
        "package": PACKAGE,
        "status": "pending",
    }
    server.will(refusal(503, "provider_unavailable"), answer(201, made))
    checkout = do(server.url, lambda client: client.credits.checkout("starter", save_payment_method=True))
    assert (checkout.order_id, checkout.checkout_url, checkout.package.credits) == ("o1", "http://pay", 1000)
    assert body_of(server) == {"package": "starter", "save_payment_method": True}
    assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 1


def test_consuming_sends_what_it_is_for_and_never_tries_a_402_again(server: Scripted, do: Do) -> None:
    server.will(answer(200, CHANGE), refusal(402, "insufficient_credits"))
    done = do(
        server.url,
        lambda client: client.credits.consume(
            30, user_id="u1", reason="r", reference_type="t", reference_id="7", idempotency_key="mine"
        ),
    )
    assert done.balance_after == 70
    assert body_of(server) == {
        "amount": 30, "reason": "r", "user_id": "u1", "reference_type": "t", "reference_id": "7",
    }  # fmt: skip
    assert server.seen[0].headers["idempotency-key"] == "mine"
    with pytest.raises(InsufficientCredits):
        do(server.url, lambda client: client.credits.consume(30))
    assert len(server.seen) == 2


def test_checking_and_setting(server: Scripted, do: Do) -> None:
    check = {"sufficient": False, "required": 100, "balance": 70, "available": 70, "missing": 30}
    server.will(answer(200, check), answer(200, {**TOP_UP, "paused_at": None}))
    assert do(server.url, lambda client: client.credits.check(100)).missing == 30
    assert body_of(server) == {"amount": 100}
    terms = {"package": "writer", "threshold": 500, "monthly_cap_cents": 10_000}
    assert do(server.url, lambda client: client.credits.set_auto_top_up(**terms)).enabled
    assert (server.seen[-1].method, body_of(server)) == ("PUT", {**terms, "enabled": True})
