from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model.invoicing import (
    NEVER,
    Difference,
    Freeze,
    carry_of,
    dollars,
    is_over,
    last_month,
    settled_after,
    state,
    taken_anyway_at,
    usage_text,
)

OCTOBER, SEPTEMBER, AUGUST = date(2026, 10, 1), date(2026, 9, 1), date(2026, 8, 1)
SPELLS = [UUID(int=number) for number in range(1, 4)]


def difference(micros: int, *, month: date = OCTOBER, calls: int = 1, spell: int = 0) -> Difference:
    return Difference(month=month, spell_id=SPELLS[spell], calls=calls, amount_micros=micros)


def test_micros_become_cents_once_and_what_is_left_is_carried() -> None:
    lines = [difference(1_234_999, calls=7), difference(4_321_999, calls=5, spell=1)]
    statement = state(OCTOBER, lines, carry_in_micros=9_999)
    assert statement is not None
    assert (statement.period, statement.lines, statement.calls) == (OCTOBER, tuple(lines), 12)
    assert statement.carry_in_micros == 9_999
    assert (statement.usage_micros, statement.total_cents, statement.carry_out_micros) == (5_556_998, 556, 6_997)
    assert statement.description == "Spell Platform API Usage - October 2026 (12 calls, $5.56)"
    assert [(item.amount_cents, item.description) for item in statement.items] == [(556, statement.description)]
    assert not statement.is_carried


def test_late_usage_is_an_item_of_its_own() -> None:
    lines = [difference(300_000, month=AUGUST), difference(255_555, month=SEPTEMBER), difference(1_000_000, calls=3)]
    statement = state(OCTOBER, lines, carry_in_micros=0)
    assert statement is not None
    assert statement.description == "Spell Platform API Usage - October 2026 (5 calls, $1.55)"
    assert [(item.amount_cents, item.description) for item in statement.items] == [
        (100, "Spell Platform API Usage - October 2026 (3 calls, $1.00)"),
        (30, "late usage of August 2026 (1 calls, $0.30)"),
        (25, "late usage of September 2026 (1 calls, $0.25)"),
    ]


@pytest.mark.parametrize(("micros", "cents"), [(499_999, 0), (500_000, 50), (509_999, 50)])
def test_below_fifty_cents_everything_is_carried(micros: int, cents: int) -> None:
    statement = state(OCTOBER, [difference(micros)], carry_in_micros=0)
    assert statement is not None
    assert statement.total_cents == cents
    assert statement.carry_out_micros == micros - cents * 10_000
    assert statement.is_carried == (cents == 0) == (statement.items == ())


def test_a_refund_lowers_what_is_owed_and_may_be_more_than_it() -> None:
    statement = state(OCTOBER, [difference(-700_000, month=SEPTEMBER, calls=-2)], carry_in_micros=5_000)
    assert statement is not None
    assert (statement.total_cents, statement.carry_out_micros, statement.is_carried) == (0, -695_000, True)
    following = state(OCTOBER, [difference(2_000_000)], carry_in_micros=statement.carry_out_micros)
    assert following is not None
    assert (following.total_cents, following.carry_out_micros) == (130, 5_000)


def test_nothing_owed_is_no_invoice_whatever_was_carried() -> None:
    assert state(OCTOBER, [], carry_in_micros=499_999) is None


amounts = st.integers(min_value=-3_000_000, max_value=10**12)
lines = st.lists(
    st.builds(
        Difference,
        month=st.sampled_from([AUGUST, SEPTEMBER, OCTOBER]),
        spell_id=st.sampled_from(SPELLS),
        calls=st.integers(min_value=-5, max_value=10**9),
        amount_micros=amounts,
    ),
    min_size=1,
    max_size=9,
)


@given(st.lists(lines, min_size=1, max_size=6))
def test_over_any_number_of_invoices_not_a_micro_is_lost(months: list[list[Difference]]) -> None:
    carry = 0
    cents = 0
    for differences in months:
        statement = state(OCTOBER, differences, carry_in_micros=carry)
        assert statement is not None
        assert sum(item.amount_cents for item in statement.items) == statement.total_cents
        assert 0 not in [item.amount_cents for item in statement.items]
        assert statement.total_cents == 0 or statement.total_cents >= 50
        carry = statement.carry_out_micros
        cents += statement.total_cents
    assert cents * 10_000 + carry == sum(line.amount_micros for month in months for line in month)
    assert carry < 500_000


@pytest.mark.parametrize(
    ("now", "month"),
    [
        (datetime(2026, 11, 1, tzinfo=UTC), OCTOBER),
        (datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC), SEPTEMBER),
        (datetime(2027, 1, 1, tzinfo=UTC), date(2026, 12, 1)),
        (datetime(2028, 3, 1, tzinfo=UTC), date(2028, 2, 1)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), date(2028, 1, 1)),
    ],
)
def test_a_run_bills_the_month_that_is_over(now: datetime, month: date) -> None:
    assert last_month(now) == month
    assert is_over(month, now)
    assert not is_over(now.date().replace(day=1), now)


def test_who_has_casts_open_is_waited_for_until_six() -> None:
    assert taken_anyway_at(OCTOBER) == datetime(2026, 11, 1, 6, tzinfo=UTC)
    assert taken_anyway_at(date(2028, 2, 1)) == datetime(2028, 3, 1, 6, tzinfo=UTC)
    assert taken_anyway_at(date(2026, 12, 1)) == datetime(2027, 1, 1, 6, tzinfo=UTC)


def test_a_freeze_covers_its_month_and_those_before_and_none_behind() -> None:
    first, second = datetime(2026, 10, 1, 6, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)
    freezes = [
        Freeze(period=OCTOBER, frozen_at=second, carry_out_micros=0),
        Freeze(period=SEPTEMBER, frozen_at=first, carry_out_micros=0),
    ]
    assert settled_after(AUGUST, freezes) == second
    assert settled_after(OCTOBER, freezes[1:]) == NEVER
    assert settled_after(SEPTEMBER, freezes[1:]) == first
    assert settled_after(OCTOBER, []) == NEVER


def test_what_is_carried_is_what_the_latest_invoice_left_over() -> None:
    latest = Freeze(period=OCTOBER, frozen_at=NEVER, carry_out_micros=7)
    before = Freeze(period=SEPTEMBER, frozen_at=NEVER, carry_out_micros=9)
    assert carry_of([latest, before]) == 7
    assert carry_of([]) == 0


def test_amounts_are_written_as_on_every_invoice() -> None:
    assert [dollars(cents) for cents in (0, 5, 50, 123_456, -7, -123)] == [
        "$0.00", "$0.05", "$0.50", "$1234.56", "-$0.07", "-$1.23",
    ]  # fmt: skip
    leap = usage_text(date(2028, 2, 1), calls=1_000_000, cents=100_001)
    assert leap == "Spell Platform API Usage - February 2028 (1000000 calls, $1000.01)"
