"""When a package is bought by itself, and which settings of that would never do anything or never stop."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from domain.model.credits import Package
from domain.model.errors import Code, Fault, RefusedError
from domain.model.top_up import AutoTopUp, Need, check_auto_top_up, is_due

NOW = datetime(2026, 11, 29, tzinfo=UTC)
PACKAGE = Package(id="starter", name="Starter", credits=1_000, price_cents=999, stripe_price=None)
WANTED = AutoTopUp(
    account_id=UUID(int=1),
    enabled=True,
    package_id="starter",
    threshold_micros=500,
    monthly_cap_micros=2 * 9_990_000,
    paused_at=None,
    updated_at=NOW,
)
NEED = Need(available_micros=499, open_orders=0, spent_micros=9_990_000)


def test_it_is_due_below_the_threshold_and_up_to_the_cap() -> None:
    assert is_due(WANTED, NEED, PACKAGE)


@pytest.mark.parametrize(
    ("wanted", "need"),
    [
        ({"enabled": False}, {}),
        ({"paused_at": NOW}, {}),
        ({"threshold_micros": 499}, {}),
        ({"monthly_cap_micros": 2 * 9_990_000 - 1}, {}),
        ({}, {"available_micros": 500}),
        ({}, {"open_orders": 1}),
        ({}, {"spent_micros": 9_990_001}),
    ],
)
def test_nothing_is_bought_when(wanted: dict[str, object], need: dict[str, object]) -> None:
    assert not is_due(msgspec.structs.replace(WANTED, **wanted), msgspec.structs.replace(NEED, **need), PACKAGE)


def check(threshold_micros: int, cap_cents: int) -> None:
    check_auto_top_up(
        threshold_micros=threshold_micros, monthly_cap_cents=cap_cents, package=PACKAGE, credit_micros=10_000
    )


def test_a_setting_at_every_bound_is_taken() -> None:
    check(1_000 * 10_000 - 1, 999)


def test_a_setting_that_would_never_stop_or_never_begin_is_refused_with_what_to_do() -> None:
    with pytest.raises(RefusedError) as caught:
        check(1_000 * 10_000, 998)
    never_stops = Fault(
        location="threshold",
        message="one Starter package does not lift the balance over it",
        fix="Set less than 1000 credits, or choose a larger package.",
    )
    never_begins = Fault(
        location="monthly_cap_cents",
        message="one Starter package costs 999 cents",
        fix="Set 999 at least, or choose a smaller package.",
    )
    assert caught.value.refusal.code is Code.VALIDATION
    assert caught.value.refusal.faults == (never_stops, never_begins)
    assert caught.value.refusal.detail == f"The top-up cannot be so: {never_stops.message}."
    with pytest.raises(RefusedError) as caught:
        check(0, 998)
    assert caught.value.refusal.faults == (never_begins,)
