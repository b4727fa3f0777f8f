"""Money of one cast, to the micro."""

import pytest

from domain.model.creator_price import CreatorPrice
from domain.model.messages import Outcome
from domain.model.pricing import NOTHING, Charge, Price, charge, fuel_micros, hold_micros

PRICE = Price(version=1, per_cast_micros=1_000, per_gfuel_micros=1_500, platform_share_percent=20)


@pytest.mark.parametrize(
    ("fuel", "micros"), [(0, 0), (1, 1), (666_666, 1), (666_667, 2), (10**9, 1_500), (10**9 + 1, 1_501)]
)
def test_fuel_is_rounded_up_to_a_micro(fuel: int, micros: int) -> None:
    assert fuel_micros(PRICE, fuel) == micros


def test_a_hold_is_the_most_a_cast_can_cost() -> None:
    assert hold_micros(PRICE, CreatorPrice(per_cast_micros=70), fuel_limit=10**9) == 1_000 + 70 + 1_500
    most = charge_of(Outcome.SUCCEEDED, fuel=10**9, creator=70, held=2_570)
    assert most.cost_micros == 2_570


def test_a_price_of_output_and_units_is_held_at_its_most_and_charged_as_used() -> None:
    asks = CreatorPrice(per_output_kib_micros=100, per_unit_micros=10, units_max=5)
    assert hold_micros(PRICE, asks, fuel_limit=0) == 1_000 + 5 * 10
    assert hold_micros(PRICE, asks, fuel_limit=0, output_bytes_limit=1_025) == 1_000 + 2 * 100 + 5 * 10
    ended = {"held_micros": 10**6, "outcome": Outcome.SUCCEEDED, "fuel": 0, "started": True}
    assert charge(PRICE, asks, **ended) == Charge(cost_micros=1_000, platform_micros=1_000, creator_micros=0)
    used = charge(PRICE, asks, **ended, output_bytes=1, units=2)
    assert used == Charge(cost_micros=1_120, platform_micros=1_024, creator_micros=96)


def charge_of(
    outcome: Outcome, *, fuel: int | None = 10**9, creator: int = 503, held: int = 10**6, started: bool = True
) -> Charge:
    asked = CreatorPrice(per_cast_micros=creator)
    return charge(PRICE, asked, held_micros=held, outcome=outcome, fuel=fuel, started=started)


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.EXIT_NONZERO])
def test_a_result_pays_everybody_the_platforms_share_rounded_down(outcome: Outcome) -> None:
    # 20 % of 503 is 100.6: the platform gets 100 of it, the creator the rest.
    assert charge_of(outcome) == Charge(cost_micros=3_003, platform_micros=2_600, creator_micros=403)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.TRAP,
        Outcome.FUEL_EXHAUSTED,
        Outcome.MEMORY_EXCEEDED,
        Outcome.OUTPUT_TOO_LARGE,
        Outcome.WALL_TIME_EXCEEDED,
        Outcome.CANCELED,
    ],
)
def test_what_broke_pays_the_platform_alone(outcome: Outcome) -> None:
    assert charge_of(outcome) == Charge(cost_micros=2_500, platform_micros=2_500, creator_micros=0)


@pytest.mark.parametrize(
    "outcome", [Outcome.SANDBOX_CRASHED, Outcome.POISON, Outcome.PLATFORM_ERROR, Outcome.DEADLINE_PASSED]
)
def test_what_the_platform_owes_costs_nothing(outcome: Outcome) -> None:
    assert charge_of(outcome) == NOTHING == Charge(cost_micros=0, platform_micros=0, creator_micros=0)


def test_every_outcome_has_a_price() -> None:
    assert {charge_of(outcome).cost_micros for outcome in Outcome} == {0, 2_500, 3_003}


def test_fuel_nobody_knows_costs_the_fee() -> None:
    assert charge_of(Outcome.WALL_TIME_EXCEEDED, fuel=None).cost_micros == 1_000


def test_canceled_before_the_start_is_free() -> None:
    assert charge_of(Outcome.CANCELED, started=False) == NOTHING
    assert charge_of(Outcome.SUCCEEDED, started=False).cost_micros == 3_003


def test_more_than_the_hold_is_an_impossible_state() -> None:
    assert charge_of(Outcome.SUCCEEDED, held=3_003).cost_micros == 3_003
    with pytest.raises(AssertionError, match=r"^the ledger parks claims over the limits before it prices them$"):
        charge_of(Outcome.SUCCEEDED, held=3_002)
