"""What a creator asks, to the micro, and when a change of it counts, to the microsecond."""

from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.model import pricing
from domain.model.admission import Accepted
from domain.model.creator_price import (
    NO_PRICE,
    PRICE_MICROS_MAX,
    PRICE_NOTICE_MS,
    CreatorPrice,
    PriceChange,
    announce,
    check_price,
    first_price,
)
from domain.model.errors import Code, RefusedError
from domain.model.limits import CastLimits
from domain.model.messages import Outcome
from domain.model.quote import QuotedTerms
from tests.domain.model.judging import accept, refuse
from tests.domain.model.states import CREATOR, HOLD, NOW_MS, PRICE, VERSION, spec, standing, state

DAY_US = 24 * 60 * 60 * 1_000_000
NOW_US = NOW_MS * 1_000


def fixed(micros: int) -> CreatorPrice:
    return CreatorPrice(per_cast_micros=micros)


def told(latest: PriceChange | None, wanted: CreatorPrice, now_us: int = NOW_US) -> PriceChange:
    change = announce(latest, wanted, version_id=VERSION, now_us=now_us)
    assert change is not None
    return change


@pytest.mark.parametrize(
    ("output_bytes", "units", "micros"),
    [
        (0, 0, 100),
        (1, 0, 107),
        (1_024, 0, 107),
        (1_025, 0, 114),
        (0, 3, 109),
        (0, 40, 220),
        (0, 41, 220),
        (2_048, 40, 234),
    ],
)
def test_each_part_is_due_and_units_end_at_their_most(output_bytes: int, units: int, micros: int) -> None:
    price = CreatorPrice(per_cast_micros=100, per_output_kib_micros=7, per_unit_micros=3, units_max=40)
    assert price.due_micros(output_bytes=output_bytes, units=units) == micros
    assert price.most_micros(2_048) == 234


def test_rates_are_there_where_something_is_asked_beside_the_fixed_price() -> None:
    assert fixed(5).rates is None
    assert CreatorPrice(per_unit_micros=2, units_max=9).rates == (0, 2, 9)
    assert CreatorPrice(per_output_kib_micros=2, units_max=9).rates == (2, 0, 9)


def test_a_hold_covers_the_most_and_a_charge_is_what_was_done() -> None:
    price = CreatorPrice(per_cast_micros=100, per_output_kib_micros=7, per_unit_micros=3, units_max=40)
    held = pricing.hold_micros(PRICE, price, fuel_limit=10**9, output_bytes_limit=10 * 1_024)
    assert held == 1_000 + 1_500 + 100 + 70 + 120
    charged = pricing.charge(
        PRICE,
        price,
        held_micros=held,
        outcome=Outcome.SUCCEEDED,
        fuel=10**6,
        started=True,
        output_bytes=3_000,
        units=2,
    )
    # fee 1,000 + fuel 2 + 20 % of (100 + 21 + 6); the creator gets the rest
    assert (charged.platform_micros, charged.creator_micros, charged.cost_micros) == (1_027, 102, 1_129)
    broke = pricing.charge(
        PRICE, price, held_micros=held, outcome=Outcome.TRAP, fuel=10**6, started=True, output_bytes=3_000, units=2
    )
    assert (broke.cost_micros, broke.creator_micros) == (1_002, 0)


def test_the_first_price_counts_from_the_start() -> None:
    change = first_price(fixed(9), version_id=VERSION, now_ms=NOW_MS)
    assert change == PriceChange(
        version_id=VERSION, number=1, announced_ms=NOW_MS, effective_ms=NOW_MS, before=NO_PRICE, after=fixed(9)
    )
    assert (change.at(NOW_MS), change.is_ahead(NOW_MS)) == (fixed(9), False)
    assert first_price(CreatorPrice(units_max=7), version_id=VERSION, now_ms=NOW_MS) is None


def test_a_rise_counts_after_the_notice_to_the_microsecond_and_a_fall_at_once() -> None:
    was = standing(fixed(100))
    up = told(was, fixed(101), NOW_US + 1)
    # Counted from the next full millisecond: never a microsecond less than 14 days.
    assert up.effective_ms == NOW_MS + 1 + PRICE_NOTICE_MS
    assert up.effective_ms * 1_000 - (NOW_US + 1) >= 14 * DAY_US
    assert (up.at(up.effective_ms - 1), up.at(up.effective_ms)) == (fixed(100), fixed(101))
    assert told(was, fixed(101)).effective_ms == NOW_MS + PRICE_NOTICE_MS
    down = told(was, fixed(99), NOW_US + 999)
    assert (down.effective_ms, down.at(NOW_MS), down.number) == (NOW_MS, fixed(99), 2)


@pytest.mark.parametrize("late_us", [-1, 0])
def test_at_the_border_a_cast_is_held_at_the_price_of_its_own_instant(late_us: int) -> None:
    up = told(standing(fixed(100)), fixed(400))
    asked = spec(creator_price_micros=100)
    at = state(now_us=up.effective_ms * 1_000 + late_us, prices=[up])
    (accepted,) = accept(at, asked)
    assert accepted.held_micros == HOLD + (100 if late_us < 0 else 400)
    assert accepted.creator_price == fixed(100 if late_us < 0 else 400)


def test_what_was_read_with_the_state_wins_over_what_the_edge_knew() -> None:
    fallen = told(standing(fixed(500)), fixed(20))
    (accepted,) = accept(state(prices=[fallen]), spec(creator_price_micros=500))
    assert accepted.held_micros == HOLD + 20


def test_a_change_of_any_part_upwards_waits_whole() -> None:
    was = standing(CreatorPrice(per_cast_micros=100, per_unit_micros=5, units_max=10))
    mixed = told(was, CreatorPrice(per_cast_micros=1, per_unit_micros=6, units_max=10))
    assert mixed.at(NOW_MS + PRICE_NOTICE_MS - 1) == was.after


def test_a_new_announcement_replaces_the_old_and_the_same_again_is_none() -> None:
    up = told(standing(fixed(100)), fixed(200))
    assert announce(up, fixed(200), version_id=VERSION, now_us=NOW_US + 5 * DAY_US) is None
    further = told(up, fixed(150), NOW_US + 5 * DAY_US)
    assert (further.before, further.effective_ms) == (fixed(100), NOW_MS + 5 * DAY_US // 1_000 + PRICE_NOTICE_MS)
    withdrawn = told(up, fixed(100), NOW_US + 5 * DAY_US)
    assert withdrawn.at(NOW_MS + PRICE_NOTICE_MS + 1) == fixed(100)
    assert not withdrawn.is_ahead(NOW_MS + 5 * DAY_US // 1_000)


def test_nothing_said_of_a_free_version_is_no_row() -> None:
    assert announce(None, CreatorPrice(units_max=5), version_id=VERSION, now_us=NOW_US) is None
    assert (told(None, fixed(1)).at(NOW_MS), told(None, fixed(1)).number) == (NO_PRICE, 1)


@pytest.mark.parametrize(
    ("price", "reports", "place", "message", "fix"),
    [
        (
            CreatorPrice(per_unit_micros=1),
            True,
            "per_unit_micros",
            "this version declares no units",
            "Say in the manifest what a unit is and how many at most (1 to 1000000): units: {name, max}.",
        ),
        (
            CreatorPrice(per_unit_micros=1, units_max=5),
            False,
            "per_unit_micros",
            "this module never reports units",
            "Import the function `report_units` of the module `spell` and call it with what was done.",
        ),
        (
            CreatorPrice(per_output_kib_micros=PRICE_MICROS_MAX // 10 + 1),
            True,
            "price",
            "a cast with 10240 bytes of output could cost 1000000010 micros for the creator alone",
            "Lower it, or limits.output_bytes or units.max: at most 1000000000 micros are taken.",
        ),
    ],
)
def test_a_price_that_cannot_be_is_refused(
    *, price: CreatorPrice, reports: bool, place: str, message: str, fix: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        check_price(price, output_bytes_max=10 * 1_024, reports_units=reports)
    refusal = caught.value.refusal
    assert (refusal.code, refusal.detail) == (Code.VALIDATION, f"The price cannot be used: {message}.")
    assert [(fault.location, fault.message, fault.fix) for fault in refusal.faults] == [(place, message, fix)]
    check_price(
        CreatorPrice(per_output_kib_micros=PRICE_MICROS_MAX // 10), output_bytes_max=10_240, reports_units=False
    )


def quoted(price: CreatorPrice, expires_ms: int = NOW_MS + 1) -> QuotedTerms:
    return QuotedTerms(id=UUID(int=1), price=PRICE, creator_price=price, expires_ms=expires_ms)


def test_a_living_quote_prices_the_cast_and_a_dead_one_refuses_it() -> None:
    risen = standing(fixed(900))
    asked = spec(price=risen, quote=quoted(fixed(100)))
    (accepted,) = accept(state(prices=[risen]), asked)
    assert (accepted.held_micros, accepted.creator_price) == (HOLD + 100, fixed(100))
    (own,) = accept(state(), spec(quote=quoted(fixed(100)), creator_id=accepted.request.account_id))
    assert own.held_micros == HOLD
    refusal = refuse(state(), spec(quote=quoted(fixed(100), NOW_MS)))
    assert refusal.code is Code.QUOTE_EXPIRED


def test_a_quotes_platform_price_is_the_one_it_was_made_under() -> None:
    old = pricing.Price(version=3, per_cast_micros=1, per_gfuel_micros=0, platform_share_percent=20)
    terms = QuotedTerms(id=UUID(int=1), price=old, creator_price=fixed(4), expires_ms=NOW_MS + 1)
    (accepted,) = accept(state(), spec(quote=terms))
    assert (accepted.price_version, accepted.held_micros) == (3, 5)


PARTS = st.builds(
    CreatorPrice,
    per_cast_micros=st.integers(0, 10_000),
    per_output_kib_micros=st.integers(0, 50),
    per_unit_micros=st.integers(0, 50),
    units_max=st.just(100),
)


@given(
    schedule=st.lists(st.tuples(PARTS, st.integers(0, 30 * DAY_US)), max_size=6),
    asked_after=st.integers(0, 40 * DAY_US),
    waited=st.integers(0, 40 * DAY_US),
    quote=st.booleans(),
    output_bytes=st.integers(0, 20_000),
    units=st.integers(0, 10**6),
    fuel=st.none() | st.integers(0, 10**9),
    outcome=st.sampled_from(Outcome),
)
# A rise is announced between the look and the cast, which uses all its fuel.
@example(
    schedule=[(CreatorPrice(per_cast_micros=5), 2_000)],
    asked_after=1_000,
    waited=5_000,
    quote=False,
    output_bytes=0,
    units=0,
    fuel=None,
    outcome=Outcome.SUCCEEDED,
)
# The caller looks when a rise is announced already, and casts when its notice is over.
@example(
    schedule=[(CreatorPrice(per_unit_micros=1, units_max=100), 0)],
    asked_after=1,
    waited=14 * DAY_US - 1,
    quote=False,
    output_bytes=0,
    units=0,
    fuel=None,
    outcome=Outcome.SUCCEEDED,
)
# A guest counts further than its creator said.
@example(
    schedule=[(CreatorPrice(per_unit_micros=50, units_max=100), 0)],
    asked_after=20 * DAY_US,
    waited=0,
    quote=True,
    output_bytes=0,
    units=10**6,
    fuel=None,
    outcome=Outcome.SUCCEEDED,
)
def test_no_schedule_charges_above_the_hold_or_the_quote_or_without_notice(
    *,
    schedule: list[tuple[CreatorPrice, int]],
    asked_after: int,
    waited: int,
    quote: bool,
    output_bytes: int,
    units: int,
    fuel: int | None,
    outcome: Outcome,
) -> None:
    """Prices change as they like; a caller looks (perhaps for a quote), casts later, and pays when it ends."""
    changes: list[PriceChange] = []
    now_us = NOW_US
    for wanted, later_us in schedule:
        now_us += later_us
        latest = changes[-1] if changes else None
        if (change := announce(latest, wanted, version_id=VERSION, now_us=now_us)) is not None:
            changes.append(change)

    def known_at(instant_us: int) -> PriceChange | None:
        return next((one for one in reversed(changes) if one.announced_ms * 1_000 <= instant_us), None)

    seen_us = NOW_US + asked_after
    cast_us = seen_us + waited
    limits = CastLimits(output_bytes=20_000)
    seen, known = known_at(seen_us), known_at(cast_us)
    promised = NO_PRICE if seen is None else seen.at(seen_us // 1_000)
    terms = quoted(promised, expires_ms=cast_us // 1_000 + 1) if quote else None
    asked = spec(price=known, quote=terms, limits=limits, creator_id=CREATOR)
    (accepted,) = accept(state(now_us=cast_us, prices=[] if known is None else [known]), asked)
    assert isinstance(accepted, Accepted)
    charged = pricing.charge(
        PRICE,
        accepted.creator_price,
        held_micros=accepted.held_micros,
        outcome=outcome,
        fuel=fuel,
        started=True,
        output_bytes=output_bytes,
        units=units,
    )
    assert charged.platform_micros + charged.creator_micros == charged.cost_micros <= accepted.held_micros
    told_of = {promised} if seen is None or quote else {promised, seen.after}
    most = max(
        pricing.hold_micros(PRICE, one, fuel_limit=limits.fuel, output_bytes_limit=limits.output_bytes)
        for one in told_of
    )
    if quote or waited < 14 * DAY_US:
        assert accepted.held_micros <= most, "dearer than what was promised, or within the notice"
