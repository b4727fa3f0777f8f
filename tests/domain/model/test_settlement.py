"""Which claims are believed, and how a cast ends by one."""

from uuid import UUID

import msgspec
import pytest

from domain.model.funding import GrantPart
from domain.model.limits import UNITS_MAX, CastLimits
from domain.model.messages import Outcome, UsageEvent, cast_token
from domain.model.pricing import NOTHING, Charge, Price
from domain.model.settlement import (
    MESSAGE_CHARACTERS_MAX,
    OPEN,
    BadClaimError,
    Ending,
    Status,
    check_claim,
    check_origin,
    ending_of,
    ending_without_run,
)
from tests.domain.model.states import OTHER, PRICE, held_cast

KEY = b"k" * 32
LIMITS = CastLimits(fuel=10**9, wall_ms=10_000, memory_bytes=64 * 2**20, output_bytes=1_000, log_bytes=100)


def claim(**fields: object) -> UsageEvent:
    token = cast_token(KEY, cast_id=UUID(int=1), digest=b"d" * 32, limits=LIMITS)
    defaults = {
        "cast_id": UUID(int=1),
        "token": token,
        "outcome": Outcome.SUCCEEDED,
        "exit_code": 0,
        "fuel": 10**9,
        "cpu_us": 2,
        "memory_bytes_peak": 3,
        "wall_us": 4,
        "started_ms": 5,
        "finished_ms": 6,
        "output": b"x" * 1_000,
        "log": b"y" * 100,
        "attempts": 2,
    }
    return UsageEvent(**{**defaults, **fields})


def test_a_claim_at_every_limit_is_believed() -> None:
    check_origin(claim(), held_cast(), KEY)
    check_claim(claim(), held_cast())
    check_claim(claim(units=UNITS_MAX), held_cast())
    check_claim(claim(fuel=0, cpu_us=0, memory_bytes_peak=0, wall_us=0, attempts=0, log=b"", output=b""), held_cast())
    check_claim(claim(outcome=Outcome.WALL_TIME_EXCEEDED, fuel=None, output=None, exit_code=None), held_cast())
    check_claim(claim(outcome=Outcome.CANCELED), held_cast(cancel_requested=True))
    check_claim(claim(outcome=Outcome.DEADLINE_PASSED), held_cast(deadline_passed=True))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"fuel": -1}, "fuel is negative or over the cast's limit"),
        ({"fuel": 10**9 + 1}, "fuel is negative or over the cast's limit"),
        ({"output": b"x" * 1_001}, "the output is longer than the cast's limit"),
        ({"log": b"y" * 101}, "the log is longer than the cast's limit"),
        ({"units": -1}, "the units are negative or more than anybody can report"),
        ({"units": UNITS_MAX + 1}, "the units are negative or more than anybody can report"),
        ({"cpu_us": -1}, "a measured figure is negative"),
        ({"memory_bytes_peak": -1}, "a measured figure is negative"),
        ({"wall_us": -1}, "a measured figure is negative"),
        ({"attempts": -1}, "a measured figure is negative"),
        ({"outcome": Outcome.CANCELED}, "nobody asked to cancel this cast"),
        ({"outcome": Outcome.DEADLINE_PASSED}, "the deadline has not passed"),
        ({"output": None}, "a success needs an output and exit code 0"),
        ({"exit_code": 1}, "a success needs an output and exit code 0"),
        ({"exit_code": None}, "a success needs an output and exit code 0"),
    ],
)
def test_what_no_honest_worker_says_is_not_believed(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(BadClaimError) as caught:
        check_claim(claim(**fields), held_cast())
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "changed",
    [
        {"id": OTHER},
        {"digest": b"e" * 32},
        {"fuel_limit": 1},
        {"wall_ms_limit": 1},
        {"memory_bytes_limit": 1},
        {"output_bytes_limit": 1},
        {"log_bytes_limit": 1},
    ],
)
def test_a_token_is_good_for_one_cast_under_its_limits_alone(changed: dict[str, object]) -> None:
    with pytest.raises(BadClaimError, match=r"^the token is not the one this cast was sent with$"):
        check_origin(claim(), held_cast(**changed), KEY)


def test_a_token_of_another_key_is_not_believed() -> None:
    with pytest.raises(BadClaimError):
        check_origin(claim(), held_cast(), b"o" * 32)


def test_a_cast_knows_its_limits_and_grants() -> None:
    cast = held_cast(grant_ids=(OTHER, UUID(int=2)), grant_micros=(3, 4))
    assert cast.limits == LIMITS
    assert cast.grants == (GrantPart(grant_id=OTHER, micros=3), GrantPart(grant_id=UUID(int=2), micros=4))
    with pytest.raises(ValueError, match="shorter"):
        _ = held_cast(grant_ids=(OTHER, OTHER), grant_micros=(3,)).grants


def test_an_ending_holds_what_was_claimed_and_the_price_the_cast_was_accepted_under() -> None:
    cast = held_cast(creator_price_micros=500, held_micros=3_000)
    newer = Price(version=8, per_cast_micros=1, per_gfuel_micros=1, platform_share_percent=0)
    ending = ending_of(claim(message="unheard"), cast, {7: PRICE, 8: newer})
    assert ending == Ending(
        cast=cast,
        outcome=Outcome.SUCCEEDED,
        charge=Charge(cost_micros=3_000, platform_micros=2_600, creator_micros=400),
        message="",
        exit_code=0,
        fuel=10**9,
        cpu_us=2,
        memory_bytes_peak=3,
        wall_us=4,
        started_ms=5,
        finished_ms=6,
        attempts=2,
        output=b"x" * 1_000,
        log=b"y" * 100,
    )
    assert (ending.status, ending.error_code) == (Status.SUCCEEDED, None)


def test_output_and_units_cost_what_the_creator_asks_for_them() -> None:
    cast = held_cast(creator_price_micros=0, creator_rates=(100, 10, 5), held_micros=10_000)
    ending = ending_of(claim(units=3, fuel=0), cast, {7: PRICE})
    assert ending.units == 3
    assert ending.charge == Charge(cost_micros=1_130, platform_micros=1_026, creator_micros=104)


def test_times_a_worker_does_not_know_are_left_open() -> None:
    ending = ending_of(claim(started_ms=0, finished_ms=0), held_cast(), {7: PRICE})
    assert (ending.started_ms, ending.finished_ms) == (None, None)


def test_only_a_cast_that_was_started_pays_for_being_canceled() -> None:
    canceled = {"outcome": Outcome.CANCELED, "output": None, "fuel": 0}
    free = ending_of(claim(**canceled, started_ms=0), held_cast(cancel_requested=True), {7: PRICE})
    paid = ending_of(claim(**canceled, started_ms=1), held_cast(cancel_requested=True), {7: PRICE})
    assert (free.charge.cost_micros, paid.charge.cost_micros) == (0, 1_000)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.SUCCEEDED, "succeeded"),
        (Outcome.EXIT_NONZERO, "failed"),
        (Outcome.TRAP, "failed"),
        (Outcome.POISON, "failed"),
        (Outcome.PLATFORM_ERROR, "failed"),
        (Outcome.CANCELED, "canceled"),
        (Outcome.DEADLINE_PASSED, "expired"),
    ],
)
def test_the_status_follows_the_outcome(outcome: Outcome, status: str) -> None:
    ending = Ending(cast=held_cast(), outcome=outcome, charge=NOTHING)
    assert ending.status == status
    assert ending.status not in OPEN
    assert ending.error_code == (None if outcome is Outcome.SUCCEEDED else outcome.value)


def test_open_is_queued_and_running() -> None:
    assert {Status.QUEUED, Status.RUNNING} == OPEN


@pytest.mark.parametrize(
    ("outcome", "said", "shown"),
    [
        (Outcome.TRAP, "unreachable", "unreachable"),
        (Outcome.TRAP, "", ""),
        (Outcome.TRAP, "a\x00b", "a\ufffdb"),
        (Outcome.TRAP, "z" * (MESSAGE_CHARACTERS_MAX + 1), "z" * 500),
        (Outcome.CANCELED, "", "The cast was canceled."),
        (Outcome.CANCELED, "by you", "by you"),
        (Outcome.DEADLINE_PASSED, "", "The deadline passed before the cast ended."),
        (Outcome.SUCCEEDED, "unheard", ""),
    ],
)
def test_the_sentence_a_caller_sees(outcome: Outcome, said: str, shown: str) -> None:
    assert ending_of(claim(outcome=outcome, message=said), held_cast(), {7: PRICE}).message == shown


def test_who_never_ran_pays_nothing_and_is_told_why() -> None:
    cast = held_cast()
    canceled = ending_without_run(cast, Outcome.CANCELED)
    assert canceled == Ending(cast=cast, outcome=Outcome.CANCELED, charge=NOTHING, message="The cast was canceled.")
    assert ending_without_run(cast, Outcome.PLATFORM_ERROR).message == ""
    assert ending_without_run(cast, Outcome.PLATFORM_ERROR, "Ours.").message == "Ours."
    assert ending_without_run(cast, Outcome.DEADLINE_PASSED).status is Status.EXPIRED
    with pytest.raises(AssertionError):
        ending_without_run(cast, Outcome.SUCCEEDED)


def test_an_event_without_an_outcome_ends_nothing() -> None:
    with pytest.raises(AssertionError):
        ending_of(msgspec.structs.replace(claim(), outcome=None), held_cast(), {7: PRICE})
