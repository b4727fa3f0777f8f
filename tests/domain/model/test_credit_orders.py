"""How an order goes on, from what Stripe says and what went back."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.model.credit_orders import (
    Facts,
    Payment,
    back_micros,
    granted_status,
    is_to_grant,
    unpaid_status,
)
from domain.model.credits import Order, OrderStatus, Takeback, TakebackKind
from domain.model.errors import Code, RefusedError

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def order(**fields: object) -> Order:
    defaults = {
        "id": UUID(int=2),
        "account_id": UUID(int=1),
        "origin": "checkout",
        "package_id": "starter",
        "package_name": "Starter",
        "credits": 1_000,
        "price_micros": 9_990_000,
        "granted_micros": 10_000_000,
        "status": "pending",
        "stripe_session": None,
        "stripe_payment": None,
        "stripe_payment_method": None,
        "stripe_customer": None,
        "stripe_refunded_micros": 0,
        "checkout_url": None,
        "created_at": NOW,
        "granted_at": None,
    }
    return Order(**{**defaults, **fields})


def back(money_micros: int, kind: TakebackKind = "refund", reversed_at: datetime | None = None) -> Takeback:
    return Takeback(
        id=UUID(int=3),
        order_id=UUID(int=2),
        kind=kind,
        reference="re_1",
        money_micros=money_micros,
        credits_micros=money_micros,
        owed_micros=0,
        reversed_at=reversed_at,
    )


def test_credits_are_given_once_and_for_their_whole_price() -> None:
    assert is_to_grant(order(), Facts(payment="paid", paid_micros=9_990_000))
    assert is_to_grant(order(), Facts(payment="paid", paid_micros=9_990_001))
    assert not is_to_grant(order(granted_at=NOW), Facts(payment="paid", paid_micros=9_990_000))


@pytest.mark.parametrize("payment", ["unpaid", "failed", "expired"])
def test_nothing_is_given_for_what_is_not_paid(payment: Payment) -> None:
    assert not is_to_grant(order(), Facts(payment=payment, paid_micros=9_990_000))


def test_an_order_paid_in_part_says_what_to_do() -> None:
    with pytest.raises(RefusedError) as caught:
        is_to_grant(order(), Facts(payment="paid", paid_micros=9_989_999))
    assert caught.value.refusal.code is Code.CONFLICT
    assert caught.value.refusal.detail == (
        "Order 00000000-0000-0000-0000-000000000002 costs 9990000 micros and 9989999 were paid. Look at the payment in"
        " Stripe: refund it, or give the credits with `spell credits grant`."
    )


@pytest.mark.parametrize(
    ("status", "payment", "expected"),
    [
        ("pending", "failed", "failed"),
        ("pending", "expired", "expired"),
        ("pending", "unpaid", "pending"),
        ("pending", "paid", "pending"),
        ("failed", "expired", "failed"),
        ("expired", "failed", "expired"),
    ],
)
def test_only_what_is_pending_fails_or_expires(status: OrderStatus, payment: Payment, expected: OrderStatus) -> None:
    assert unpaid_status(order(status=status), Facts(payment=payment)) == expected


@pytest.mark.parametrize(
    ("takebacks", "expected"),
    [
        ([], "completed"),
        ([back(9_990_000, reversed_at=NOW)], "completed"),
        ([back(1)], "partly_refunded"),
        ([back(9_989_999)], "partly_refunded"),
        ([back(9_989_999), back(1)], "refunded"),
        ([back(9_990_001)], "refunded"),
        ([back(9_990_000), back(1, "dispute")], "disputed"),
        ([back(1), back(9_990_000, "dispute", NOW)], "partly_refunded"),
    ],
)
def test_a_paid_order_is_named_by_what_of_its_money_is_back(takebacks: list[Takeback], expected: OrderStatus) -> None:
    assert granted_status(order(status="completed"), takebacks) == expected


def test_money_that_is_back_is_counted_by_kind_and_not_when_it_came_again() -> None:
    takebacks = [back(1), back(20, "dispute"), back(300, reversed_at=NOW), back(4_000)]
    assert back_micros(takebacks) == 4_021
    assert back_micros(takebacks, "refund") == 4_001
    assert back_micros(takebacks, "dispute") == 20
    assert back_micros([]) == 0
