"""What packages are worth, what refunds take, and that money and credits of each add up, whatever the amounts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model.credits import (
    GRANT_MICROS_MAX,
    PRIORITY_MAX,
    Order,
    Takeback,
    check_grant,
    credits_for,
    purchase_moves,
    take,
    takeback_moves,
    unused_money,
    whole_credits,
)
from domain.model.errors import Code, Fault, RefusedError
from domain.model.ledger import CASH, Move, backwards, credits_of, receivable_of, transfers

ACCOUNT = UUID(int=1)
NOW = datetime(2026, 11, 29, tzinfo=UTC)
CENT = 10_000
CENTS = st.integers(min_value=1, max_value=30_000)
MICROS = st.integers(min_value=1, max_value=10**12)


def order(price_micros: int, granted_micros: int) -> Order:
    return Order(
        id=UUID(int=2),
        account_id=ACCOUNT,
        origin="checkout",
        package_id="starter",
        package_name="Starter",
        credits=1_000,
        price_micros=price_micros,
        granted_micros=granted_micros,
        status="completed",
        stripe_session=None,
        stripe_payment=None,
        stripe_payment_method=None,
        stripe_customer=None,
        stripe_refunded_micros=0,
        checkout_url=None,
        created_at=NOW,
        granted_at=NOW,
    )


def net(moves: tuple[Move, ...], name: str) -> int:
    """Return what an account of the ledger got, less what it gave."""
    assert all(move.micros <= 0 or move.debit != move.credit for move in moves)
    booked = [move for move in moves if move.micros > 0]
    got = sum(move.micros for move in booked if move.credit == name)
    return got - sum(move.micros for move in booked if move.debit == name)


@given(price=CENTS, granted=MICROS)
def test_a_purchase_books_its_price_and_its_credits(price: int, granted: int) -> None:
    """Also where credits are dearer than what they are worth in casts."""
    moves = purchase_moves(order(price * CENT, granted))
    assert net(moves, credits_of(ACCOUNT)) == granted
    assert net(moves, CASH) == -price * CENT


@given(price=CENTS, granted=MICROS, back=st.integers(0, 40_000), money=CENTS, data=st.data())
def test_what_goes_back_is_covered_by_credits_or_owed(
    price: int, granted: int, back: int, money: int, data: st.DataObject
) -> None:
    one = order(price * CENT, granted)
    left = granted - credits_for(one, back * CENT)
    free = data.draw(st.integers(0, left))
    taking = take(one, back_micros=back * CENT, money_micros=money * CENT, free_micros=free)
    assert 0 <= taking.credits_micros <= free
    assert 0 <= taking.owed_micros <= money * CENT
    if free == left and back + money <= price:
        assert taking.owed_micros == 0, "all of it was there"
    if back >= price:
        assert taking.owed_micros == money * CENT, "nothing was sold for it"
    takeback = Takeback(
        id=UUID(int=3),
        order_id=one.id,
        kind="refund",
        reference="x",
        money_micros=money * CENT,
        credits_micros=taking.credits_micros,
        owed_micros=taking.owed_micros,
        reversed_at=None,
    )
    moves = takeback_moves(ACCOUNT, takeback)
    assert net(moves, CASH) == money * CENT
    assert net(moves, credits_of(ACCOUNT)) == -taking.credits_micros
    assert net(moves, receivable_of(ACCOUNT)) == -taking.owed_micros
    both = (*moves, *backwards(moves))
    assert {net(both, name) for move in both for name in (move.debit, move.credit)} == {0}


@given(price=CENTS, granted=MICROS, parts=st.lists(CENTS, max_size=20))
def test_however_often_a_part_goes_back_all_of_it_is_all_of_the_credits(
    price: int, granted: int, parts: list[int]
) -> None:
    one, back, taken = order(price * CENT, granted), 0, 0
    for cents in [*parts, price]:
        money = min(cents, price - back)
        if money == 0:
            break
        taking = take(one, back_micros=back * CENT, money_micros=money * CENT, free_micros=granted - taken)
        assert taking.owed_micros == 0
        back, taken = back + money, taken + taking.credits_micros
    assert (back, taken) == (price, granted)


@given(price=CENTS, granted=MICROS, data=st.data())
def test_unused_credits_are_worth_whole_cents_and_no_more_than_they_cost(
    price: int, granted: int, data: st.DataObject
) -> None:
    one = order(price * CENT, granted)
    unused = data.draw(st.integers(0, granted))
    money = unused_money(one, unused)
    assert money % CENT == 0
    assert credits_for(one, money) <= unused
    assert (money == price * CENT) == (unused == granted)


def booked(moves: tuple[Move, ...]) -> list[Move]:
    return sorted(move for move in moves if move.micros > 0)


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        (37, [Move(CASH, credits_of(ACCOUNT), 30), Move("promotion:platform", credits_of(ACCOUNT), 7)]),
        (30, [Move(CASH, credits_of(ACCOUNT), 30)]),
        (23, [Move(CASH, credits_of(ACCOUNT), 23), Move(CASH, "promotion:platform", 7)]),
    ],
)
def test_what_credits_are_worth_beyond_their_price_or_below_is_promotion(granted: int, expected: list[Move]) -> None:
    assert booked(purchase_moves(order(30, granted))) == expected


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        (25, [Move(credits_of(ACCOUNT), CASH, 20), Move(credits_of(ACCOUNT), "promotion:platform", 5)]),
        (20, [Move(credits_of(ACCOUNT), CASH, 20)]),
        (15, [Move(credits_of(ACCOUNT), CASH, 15), Move("promotion:platform", CASH, 5)]),
    ],
)
def test_going_back_undoes_the_promotion_too_and_books_what_is_owed(taken: int, expected: list[Move]) -> None:
    takeback = Takeback(
        id=UUID(int=3),
        order_id=UUID(int=2),
        kind="refund",
        reference="x",
        money_micros=30,
        credits_micros=taken,
        owed_micros=10,
        reversed_at=None,
    )
    assert booked(takeback_moves(ACCOUNT, takeback)) == sorted([*expected, Move(receivable_of(ACCOUNT), CASH, 10)])


def test_credits_that_are_gone_are_owed_in_proportion_and_not_by_a_float() -> None:
    huge = 10**17 + 1
    taking = take(order(huge, huge), back_micros=0, money_micros=huge, free_micros=huge - 2)
    assert (taking.covered_micros, taking.owed_micros) == (huge - 2, 2)
    assert unused_money(order(10**17 - 1, 10**13), 10**13) == 10**17 - 10_000


def test_transfers_follow_from_their_cause_and_leave_out_nothing_but_zeros() -> None:
    moves = [Move("a", "b", 5), Move("a", "c", 0), Move("c", "a", -5)]
    rows = transfers("credit_grant", moves, cause=UUID(int=7), account_id=ACCOUNT, month=NOW.date())
    (row,) = rows
    assert (row.debit, row.credit, row.amount_micros, row.batch_id) == ("a", "b", 5, UUID(int=7))
    assert (row.kind, row.account_id, row.month) == ("credit_grant", ACCOUNT, NOW.date())
    (least,) = transfers("credit_grant", [Move("a", "b", 1)], cause=UUID(int=7), account_id=ACCOUNT, month=NOW.date())
    assert least.amount_micros == 1
    again = transfers("credit_grant", moves, cause=UUID(int=7), account_id=ACCOUNT, month=NOW.date())
    assert again == rows
    other = transfers("credit_grant", moves, cause=UUID(int=8), account_id=ACCOUNT, month=NOW.date())
    assert other[0].id != row.id


@pytest.mark.parametrize(
    ("micros", "shown"), [(0, 0), (9_999, 0), (10_000, 1), (19_999, 1), (-9_999, 0), (-10_000, -1), (-19_999, -1)]
)
def test_whole_credits_are_rounded_towards_nothing(micros: int, shown: int) -> None:
    assert whole_credits(micros, 10_000) == shown


@pytest.mark.parametrize("micros", [1, GRANT_MICROS_MAX])
@pytest.mark.parametrize("priority", [0, PRIORITY_MAX])
@pytest.mark.parametrize("expires_at", [None, NOW + timedelta(microseconds=1)])
def test_a_grant_at_every_bound_is_taken(micros: int, priority: int, expires_at: datetime | None) -> None:
    check_grant(micros, priority=priority, expires_at=expires_at, now=NOW)


@pytest.mark.parametrize(
    ("micros", "priority"), [(0, -1), (-1, PRIORITY_MAX + 1), (GRANT_MICROS_MAX + 1, PRIORITY_MAX + 1)]
)
def test_a_grant_that_makes_no_sense_says_all_that_is_wrong_and_what_to_do(micros: int, priority: int) -> None:
    fix = "Give between 1 and 100000000000000 micros of usage."
    worth = Fault(location="credits", message=f"it is worth {micros} micros", fix=fix)
    order = Fault(
        location="priority",
        message=f"there is no priority {priority}",
        fix="Give 0 to 1000; the lowest number is used up first.",
    )
    past = Fault(location="expires_at", message="it is in the past", fix="Choose a later time.")
    with pytest.raises(RefusedError) as caught:
        check_grant(micros, priority=priority, expires_at=NOW, now=NOW)
    assert caught.value.refusal.code is Code.VALIDATION
    assert caught.value.refusal.faults == (worth, order, past)
    assert caught.value.refusal.detail == f"The grant cannot be so: {worth.message}."
    with pytest.raises(RefusedError) as caught:
        check_grant(1, priority=0, expires_at=NOW - timedelta(days=1), now=NOW)
    assert caught.value.refusal.faults == (past,)
