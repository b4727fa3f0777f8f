"""Whether a creator is paid, and how much."""

import time
from datetime import UTC, date, datetime
from uuid import uuid4

import msgspec
import pytest

from domain.model.events import Letter
from domain.model.payout_events import PayoutFacts, failed_event, paid_event, reversed_event
from domain.model.payouts import MINIMUM_CENTS, Outcome, Owed, PayoutAccount, fresh_since, is_due, judge

NOW = datetime(2026, 11, 15, tzinfo=UTC)
CENT = 10_000
MINIMUM = MINIMUM_CENTS * CENT


def account(*, connected: bool = True, submitted: bool = True, active: bool = True) -> PayoutAccount:
    return PayoutAccount(
        account_id=uuid4(), epoch=0, tried_at=NOW, stripe_account_id="acct_1" if connected else None,
        details_submitted=submitted, transfers_active=active, payouts_enabled=active, disabled_reason=None,
        asked_at=None, created_at=NOW,
    )  # fmt: skip


def owed(payable: int, fresh: int = 0) -> Owed:
    return Owed(payable_micros=payable, fresh_micros=fresh)


@pytest.mark.parametrize(
    ("standing", "who", "suspended", "outcome", "cents"),
    [
        (owed(MINIMUM), account(), False, "frozen", MINIMUM_CENTS),
        (owed(MINIMUM + CENT - 1), account(), False, "frozen", MINIMUM_CENTS),
        (owed(MINIMUM - 1), account(), False, "below_minimum", 0),
        (owed(MINIMUM + 5 * CENT, 5 * CENT), account(), False, "frozen", MINIMUM_CENTS),
        (owed(MINIMUM + 5 * CENT, 5 * CENT + 1), account(), False, "held_back", 0),
        (owed(MINIMUM - 1, 5 * CENT), account(), False, "below_minimum", 0),
        # More was taken back since than had been there before what is fresh.
        (owed(MINIMUM, 3 * MINIMUM), account(), False, "held_back", 0),
        (owed(1), account(), False, "below_minimum", 0),
        (owed(0), account(), False, "nothing", 0),
        (owed(-7), account(), False, "nothing", 0),
        (owed(MINIMUM), account(), True, "suspended", 0),
        (owed(MINIMUM), None, False, "no_account", 0),
        (owed(MINIMUM), account(connected=False, submitted=False, active=False), False, "no_account", 0),
        (owed(MINIMUM), account(submitted=False, active=False), False, "no_account", 0),
        (owed(MINIMUM), account(active=False), False, "account_disabled", 0),
    ],
)
def test_who_is_paid_and_how_much(
    *, standing: Owed, who: PayoutAccount | None, suspended: bool, outcome: Outcome, cents: int
) -> None:
    verdict = judge(standing, who, is_suspended=suspended)
    assert (verdict.outcome, verdict.amount_cents) == (outcome, cents)


def test_nothing_becomes_payable_by_being_taken() -> None:
    with pytest.raises(AssertionError, match=r"^what became payable is credited$"):
        judge(owed(MINIMUM, -1), account(), is_suspended=False)


def test_a_creators_account_in_a_word() -> None:
    nobody = account(connected=False, submitted=False, active=False)
    assert (nobody.status, account().status) == ("none", "active")
    assert account(submitted=False, active=False).status == "incomplete"
    assert account(active=False).status == "disabled"
    assert msgspec.structs.replace(nobody, epoch=1).key != nobody.key


def test_nothing_begins_by_itself_before_its_day() -> None:
    days = [datetime(2026, 11, day, 23, 59, tzinfo=UTC) for day in (1, 14, 15, 30)]
    assert [is_due(day) for day in days] == [False, False, True, True]
    assert fresh_since(NOW) == datetime(2026, 11, 8, tzinfo=UTC)


def test_the_day_is_that_of_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "EAST-14")
        time.tzset()
        assert not is_due(datetime(2026, 11, 14, 23, 59, tzinfo=UTC))
    time.tzset()


def test_what_a_creator_is_told() -> None:
    facts = PayoutFacts(
        payout_id=uuid4(), account_id=uuid4(), period=date(2026, 10, 1), amount_cents=1234, transfer_id="tr_1",
        refused_code="account_invalid", reversed_cents=200,
    )  # fmt: skip
    paid, failed, taken_back = paid_event(facts), failed_event(facts), reversed_event(facts)
    subjects = [msgspec.json.decode(event.letter or "", type=Letter).subject for event in (paid, failed, taken_back)]
    assert subjects == ["You were paid $12.34", "A payout of $12.34 failed", "$2.00 of a payout were taken back"]
    assert "account_invalid" in (failed.letter or "")
    assert len({paid.event_id, failed.event_id, taken_back.event_id}) == 3
    more = reversed_event(msgspec.structs.replace(facts, reversed_cents=300))
    assert more.event_id != taken_back.event_id
    assert paid_event(facts).event_id == paid.event_id
    assert msgspec.json.decode(paid.payload or "")["period"] == "2026-10"
