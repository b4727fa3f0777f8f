"""The calendar in UTC, and ids that carry their instant."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model.ids import ENTROPY_BYTES, SEQUENCE_MAX, cast_id, instant_ms_of, text_of
from domain.model.periods import Period, day_of_ms, month_of, month_of_ms, next_month, resets_at, starts_on

# Still the last day of February in UTC.
EASTERN = datetime(2028, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))


def test_days_and_months_are_those_of_utc() -> None:
    assert month_of(EASTERN) == date(2028, 2, 1)
    assert starts_on(Period.DAILY, EASTERN) == date(2028, 2, 29)
    assert starts_on(Period.MONTHLY, EASTERN) == date(2028, 2, 1)
    assert resets_at(Period.DAILY, EASTERN) == datetime(2028, 3, 1, tzinfo=UTC)
    assert resets_at(Period.MONTHLY, EASTERN) == datetime(2028, 3, 1, tzinfo=UTC)
    assert resets_at(Period.DAILY, EASTERN).tzinfo is UTC


@pytest.mark.parametrize(
    ("first", "following"),
    [
        (date(2026, 1, 1), date(2026, 2, 1)),
        (date(2026, 1, 31), date(2026, 2, 1)),
        (date(2026, 2, 1), date(2026, 3, 1)),
        (date(2026, 12, 31), date(2027, 1, 1)),
        (date(2028, 2, 29), date(2028, 3, 1)),
    ],
)
def test_the_month_after(first: date, following: date) -> None:
    assert next_month(first) == following


def test_the_machines_own_zone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "Etc/GMT-14")
            time.tzset()
            assert month_of(EASTERN) == date(2028, 2, 1)
            assert starts_on(Period.DAILY, EASTERN) == date(2028, 2, 29)
    finally:
        time.tzset()


def test_december_resets_in_the_next_year() -> None:
    instant = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert resets_at(Period.MONTHLY, instant) == resets_at(Period.DAILY, instant) == datetime(2027, 1, 1, tzinfo=UTC)


def test_an_instant_in_milliseconds_has_the_same_day_and_month() -> None:
    midnight = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000)
    assert (day_of_ms(midnight), month_of_ms(midnight)) == (date(2026, 3, 1), date(2026, 3, 1))
    assert (day_of_ms(midnight - 1), month_of_ms(midnight - 1)) == (date(2026, 2, 28), date(2026, 2, 1))
    assert (day_of_ms(0), month_of_ms(0)) == (date(1970, 1, 1), date(1970, 1, 1))


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 Hypothesis wants bounds without a zone
def test_a_period_holds_its_instant_and_ends_where_the_next_begins(instant: datetime) -> None:
    for period in Period:
        following = resets_at(period, instant)
        assert starts_on(period, instant) <= instant.date() < following.date()
        assert starts_on(period, following - timedelta(microseconds=1)) == starts_on(period, instant)
        assert starts_on(period, following) == following.date()


def test_an_id_is_a_uuid_of_version_7_with_these_very_bits() -> None:
    minted = cast_id(0x0123456789AB, sequence=0xCDE, entropy=bytes.fromhex("ffeeddccbbaa9989"))
    assert minted == UUID("01234567-89ab-7cde-bfee-ddccbbaa9989")
    assert (minted.version, minted.variant) == (7, RFC_4122)
    assert instant_ms_of(minted) == 0x0123456789AB


@given(
    st.tuples(st.integers(0, 2**48 - 1), st.integers(0, SEQUENCE_MAX - 1)),
    st.tuples(st.integers(0, 2**48 - 1), st.integers(0, SEQUENCE_MAX - 1)),
    st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES),
    st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES),
)
def test_ids_sort_by_instant_then_number(
    one: tuple[int, int], other: tuple[int, int], noise: bytes, other_noise: bytes
) -> None:
    first = cast_id(one[0], sequence=one[1], entropy=noise)
    second = cast_id(other[0], sequence=other[1], entropy=other_noise)
    if one != other:
        assert (first < second) == (one < other)
    assert instant_ms_of(first) == one[0]


@pytest.mark.parametrize(
    ("sequence", "entropy"), [(-1, bytes(8)), (SEQUENCE_MAX, bytes(8)), (0, bytes(7)), (0, bytes(9))]
)
def test_numbers_and_randomness_that_do_not_fit_are_impossible_states(sequence: int, entropy: bytes) -> None:
    with pytest.raises(AssertionError):
        cast_id(0, sequence=sequence, entropy=entropy)


def test_the_bounds_of_a_batch() -> None:
    assert (ENTROPY_BYTES, SEQUENCE_MAX) == (8, 4096)
    assert cast_id(0, sequence=SEQUENCE_MAX - 1, entropy=bytes(8)).int >> 64 == 0x7FFF


@given(st.uuids())
def test_an_id_reads_as_everywhere(identifier: UUID) -> None:
    assert text_of(identifier) == str(identifier)
