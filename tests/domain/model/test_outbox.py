"""Until when a key is good, and when a step that failed is tried again."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from domain.model.outbox import (
    BLOCKED_PAUSE,
    KEY_LASTS,
    TROUBLE_CHARACTERS_MAX,
    OutboxKind,
    OutboxRow,
    Trouble,
    next_attempt_at,
    storable_trouble,
)

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ROW = OutboxRow(
    id=UUID(int=1),
    account_id=UUID(int=2),
    kind=OutboxKind.INVOICE,
    subject_id=UUID(int=3),
    frozen=msgspec.Raw(b"{}"),
    created_at=NOW - timedelta(days=9),
    step="items",
    epoch=4,
    known={},
    tried_at=NOW,
    must_look=False,
    attempts=1,
    lease_until=NOW,
)


def test_a_key_is_of_its_row_step_and_epoch() -> None:
    assert ROW.key == "00000000-0000-0000-0000-000000000001:items:4"


def test_a_key_is_spent_when_stripe_may_have_forgotten_it_or_keeps_a_useless_answer() -> None:
    assert not ROW.key_is_spent(NOW)
    assert not ROW.key_is_spent(NOW + KEY_LASTS - timedelta(microseconds=1))
    assert ROW.key_is_spent(NOW + KEY_LASTS)
    assert ROW.key_is_spent(NOW + KEY_LASTS + timedelta(days=1))
    assert msgspec.structs.replace(ROW, must_look=True).key_is_spent(NOW)


@pytest.mark.parametrize(
    ("attempts", "pause_s"), [(1, 1), (2, 5), (3, 30), (4, 120), (5, 600), (6, 3_600), (7, 3_600), (1_000, 3_600)]
)
def test_each_attempt_waits_longer_up_to_an_hour_and_there_is_no_last_one(attempts: int, pause_s: int) -> None:
    again = next_attempt_at(Trouble(reason="x"), attempts=attempts, now=NOW)
    assert again == NOW + timedelta(seconds=pause_s)


def test_what_stripe_asks_for_is_waited_at_least() -> None:
    longer, shorter = (Trouble(reason="x", retry_after_s=seconds) for seconds in (7, 4))
    assert next_attempt_at(longer, attempts=2, now=NOW) == NOW + timedelta(seconds=7)
    assert next_attempt_at(shorter, attempts=2, now=NOW) == NOW + timedelta(seconds=5)


def test_a_definite_no_waits_for_somebody_to_change_something() -> None:
    assert next_attempt_at(Trouble(reason="x", blocks=True), attempts=1, now=NOW) == NOW + BLOCKED_PAUSE


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(AssertionError):
        next_attempt_at(Trouble(reason="x"), attempts=0, now=NOW)


def test_a_reason_is_kept_bounded_and_as_postgres_takes_it() -> None:
    assert storable_trouble("a\0b\0c") == "abc"
    assert storable_trouble("\0" + "x" * TROUBLE_CHARACTERS_MAX + "y") == "x" * TROUBLE_CHARACTERS_MAX
