"""The checker of chaos runs is fed a right history, and wrong ones: each must be noticed, and by the rule it breaks."""

from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from tests.chaos.checker import ENDED_SECONDS_MAX, Ending, check
from tests.chaos.final_state import CastRow, FinalState, MonthRow, RememberedRow, WindowRow
from tests.chaos.history import Call, ClockMove, History, Limit, Seen, Wanted, WireSample, load
from tests.chaos.report import story

ACCOUNT, OTHER, KEY = UUID(int=1), UUID(int=2), UUID(int=3)
BUDGET, WINDOW = UUID(int=10), UUID(int=11)
FIRST, SECOND = UUID(int=101), UUID(int=102)
# 2026-11-20 12:00 UTC.
NOON = 1_795_176_000.0
HOLD, COST, FUEL = 2_500, 1_002, 1_000_001
LIMIT = 5_000
WANTED = Wanted(spell="empty", fuel=10**9, outcomes=("succeeded",), output_sha256="00")
REFUSED_BEFORE = Seen(status=409, refusal="refused_before")
change = msgspec.structs.replace


def cast_row(cast_id: UUID, accepted: float, settled: float, **fields: Any) -> CastRow:
    right = {
        "id": cast_id,
        "account_id": ACCOUNT,
        "status": "succeeded",
        "accepted_ms": int((NOON + accepted) * 1_000),
        "held_micros": HOLD,
        "fuel_limit": 10**9,
        "funding": "metered",
        "started": True,
        "cost_micros": COST,
        "fuel": FUEL,
        "window_ids": (WINDOW,),
        "output_sha256": "00",
        "settled_us": int((NOON + settled) * 1_000_000),
        "usage_micros": (COST,),
    }
    return CastRow(**{**right, **fields})


def call(number: int, sent: float, answered: float, **fields: Any) -> Call:
    right = {
        "number": number,
        "account_id": ACCOUNT,
        "key_id": KEY,
        "kind": "cast",
        "path": "/v1/casts",
        "api": 0,
        "sent_at": NOON + sent,
        "answered_at": NOON + answered,
        "status": 202,
        "idempotency_key": f"key {number}",
        "wanted": (WANTED,),
    }
    return Call(**{**right, **fields})


def accepted(cast_id: UUID, **fields: Any) -> tuple[Seen, ...]:
    return (Seen(**{"status": 202, "cast_id": cast_id, "cast_status": "queued", **fields}),)


def refused(spent: int, held: int, *, limit: int = LIMIT) -> tuple[Seen, ...]:
    said = Limit(id=BUDGET, limit_micros=limit, spent_micros=spent, held_micros=held, needed_micros=HOLD)
    return (Seen(status=402, refusal="budget_exceeded", limit=said),)


def read(number: int, at: float, cast_id: UUID, **seen: Any) -> Call:
    shown = Seen(**{"status": 200, "cast_id": cast_id, "cast_status": "succeeded", "cost_micros": COST, **seen})
    path = f"/v1/casts/{cast_id}"
    return call(
        number, at, at + 0.01, kind="read", path=path, idempotency_key=None, wanted=(), status=200, seen=(shown,)
    )


def right_history() -> list[Any]:
    """Two casts fill the budget; the third is refused while both are open; both end; the first is read."""
    return [
        call(1, 0.0, 0.2, seen=accepted(FIRST)),
        call(2, 0.2, 0.4, seen=accepted(SECOND)),
        call(3, 0.5, 0.6, status=402, error="budget_exceeded", seen=refused(0, 2 * HOLD)),
        read(4, 2.1, FIRST),
        WireSample(began_at=NOON + 0.5, ended_at=NOON + 0.51, entries=2),
    ]


def right_state() -> FinalState:
    casts = (cast_row(FIRST, 0.1, 1.0), cast_row(SECOND, 0.3, 2.0))
    return FinalState(
        casts=casts,
        windows=(
            WindowRow(
                id=WINDOW,
                budget_id=BUDGET,
                account_id=ACCOUNT,
                limit_micros=LIMIT,
                spent_micros=2 * COST,
                held_micros=0,
            ),
        ),
        months=(MonthRow(account_id=ACCOUNT, month=date(2026, 11, 1), spent_micros=2 * COST, held_micros=0),),
        remembered=tuple(
            RememberedRow(account_id=ACCOUNT, key=f"key {number}", cast_ids=(cast_id,))
            for number, cast_id in ((1, FIRST), (2, SECOND))
        ),
        booked_micros={ACCOUNT: 2 * COST},
    )


IN_TIME = Ending(healed_at=NOON + 3.0, ended_at=NOON + 4.0)


def rules(events: list[Any], state: FinalState, ending: Ending = IN_TIME) -> set[str]:
    return {violation.rule for violation in check(History(events), state, ending)}


def with_cast(**fields: Any) -> FinalState:
    """The right state, but for fields of the first cast."""
    state = right_state()
    return change(state, casts=(change(state.casts[0], **fields), state.casts[1]))


def test_a_right_run_is_right() -> None:
    assert rules(right_history(), right_state()) == set()


LOST = change(right_state(), casts=right_state().casts[1:])
WRONG_ROWS = {
    "a lost cast": (LOST, "an acknowledged cast exists"),
    "somebody else's cast": (with_cast(account_id=OTHER), "an acknowledged cast exists"),
    "an open cast": (with_cast(status="queued", cost_micros=None, usage_micros=()), "every cast has ended"),
    "two usage events": (with_cast(usage_micros=(COST, COST)), "a cast is charged once"),
    "no usage event": (with_cast(usage_micros=()), "a cast is charged once"),
    "an event of another cost": (with_cast(usage_micros=(COST + 1,)), "a cast is charged what it cost"),
    "a dear cast": (with_cast(cost_micros=COST + 1), "a cast costs what it used"),
    "a dear failure of ours": (with_cast(status="failed", error_code="poison"), "a cast costs what it used"),
    "a hold that was left": (
        change(right_state(), windows=(change(right_state().windows[0], held_micros=HOLD),)),
        "held is the sum of open holds",
    ),
    "a spending that was lost": (
        change(right_state(), windows=(change(right_state().windows[0], spent_micros=COST),)),
        "held is the sum of open holds",
    ),
    "a month that holds": (
        change(right_state(), months=(change(right_state().months[0], held_micros=1),)),
        "a month holds its open holds",
    ),
    "booked twice": (change(right_state(), booked_micros={ACCOUNT: 4 * COST}), "the ledger moved what the casts cost"),
    "booked to nobody": (
        change(right_state(), booked_micros={ACCOUNT: 2 * COST, OTHER: COST}),
        "the ledger moved what the casts cost",
    ),
    "a ledger with a gap": (change(right_state(), ledger_sum_micros=1), "the ledger sums to zero"),
    "books that differ": (change(right_state(), broken=("counters",)), "the books agree with each other"),
    "another output": (with_cast(output_sha256="01"), "a cast's output is its spell's"),
    "another ending": (with_cast(status="failed", error_code="trap"), "a cast ends as its spell does"),
    "canceled by nobody": (
        with_cast(status="canceled", error_code="canceled", cost_micros=0, usage_micros=(0,)),
        "a cast ends as its spell does",
    ),
    "expired at once": (
        with_cast(status="expired", error_code="deadline_passed", cost_micros=0, usage_micros=(0,)),
        "a cast expires after its deadline",
    ),
    "a cast nobody asked for": (
        change(right_state(), casts=(*right_state().casts, cast_row(UUID(int=103), 2.5, 2.6, window_ids=()))),
        "every cast was asked for once",
    ),
    "a request that was done twice": (
        change(
            right_state(),
            casts=(*right_state().casts, cast_row(UUID(int=103), 2.5, 2.6, window_ids=())),
            remembered=(
                RememberedRow(account_id=ACCOUNT, key="key 1", cast_ids=(FIRST, UUID(int=103))),
                right_state().remembered[1],
            ),
        ),
        "a request makes no more casts than it asks for",
    ),
    "a budget that was passed": (
        change(right_state(), windows=(change(right_state().windows[0], limit_micros=LIMIT - 1),)),
        "no limit is passed at any instant",
    ),
    "credits that were passed": (
        change(
            right_state(),
            casts=tuple(change(cast, funding="credits") for cast in right_state().casts),
            granted_micros={ACCOUNT: LIMIT - 1},
        ),
        "no limit is passed at any instant",
    ),
    "free casts that were passed": (
        change(
            right_state(),
            casts=tuple(change(cast, funding="free") for cast in right_state().casts),
            free_casts_max=1,
        ),
        "no limit is passed at any instant",
    ),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_wrong_rows_are_noticed(name: str) -> None:
    state, rule = WRONG_ROWS[name]
    assert rule in rules(right_history(), state)


def replaced(index: int, **fields: Any) -> list[Any]:
    events = right_history()
    events[index] = change(events[index], **fields)
    return events


WRONG_HISTORIES = {
    "a replay with another cast": (
        [*right_history(), call(9, 2.0, 2.1, idempotency_key="key 1", seen=accepted(SECOND))],
        "a request that is sent again gives the same casts",
    ),
    "a replay with the cast at another place": (
        [*right_history(), call(9, 2.0, 2.1, idempotency_key="key 1", seen=(REFUSED_BEFORE, *accepted(FIRST)))],
        "a request that is sent again gives the same casts",
    ),
    "a result that was not stored": (
        [*right_history(), read(9, 2.5, FIRST, cost_micros=COST - 1)],
        "what a caller saw is final",
    ),
    "an output that was not stored": (
        [*right_history(), read(9, 2.5, FIRST, output_sha256="02")],
        "what a caller saw is final",
    ),
    "a final cast that runs again": (
        [*right_history(), read(9, 2.5, FIRST, cast_status="running", cost_micros=None)],
        "a final cast stays final",
    ),
    "a refusal that held": (
        replaced(0, status=503, error="overloaded", seen=()),
        "a refused request holds nothing",
    ),
    "a refusal with room, by its own figures": (
        replaced(2, seen=refused(0, HOLD)),
        "a 402 is justified when it is said",
    ),
    "a refusal by figures that never were": (
        replaced(2, seen=refused(HOLD, HOLD + 1)),
        "a 402 is justified when it is said",
    ),
    "a refusal by another limit": (
        replaced(2, seen=refused(0, 2 * HOLD, limit=LIMIT - 1)),
        "a 402 is justified when it is said",
    ),
    "a refusal after the holds were released": (
        replaced(2, sent_at=NOON + 2.1, answered_at=NOON + 2.2),
        "a 402 is justified when it is said",
    ),
    "a refusal before there was a hold": (
        replaced(2, sent_at=NOON - 2.0, answered_at=NOON - 1.0),
        "a 402 is justified when it is said",
    ),
    "a refusal in yesterday's window": (
        [*right_history(), ClockMove(began_at=NOON + 0.45, at=NOON + 0.46, offset_seconds=86_400)],
        "a 402 is justified when it is said",
    ),
    "a refusal of credits that nobody has": (
        replaced(2, seen=(Seen(status=402, refusal="insufficient_credits"),)),
        "a 402 is justified when it is said",
    ),
    "an error of ours": (
        [*right_history(), call(9, 2.0, 2.1, status=500, error="internal_error")],
        "the platform answers, or says 503",
    ),
    "a 503 without a time": (
        [*right_history(), call(9, 2.0, 2.1, status=503, error="overloaded")],
        "503 and 429 say when to come again",
    ),
    "a storm on the wire": (
        [*right_history(), WireSample(began_at=NOON + 0.5, ended_at=NOON + 0.51, entries=50)],
        "the wire carries no more than is open",
    ),
}


@pytest.mark.parametrize("name", WRONG_HISTORIES)
def test_wrong_histories_are_noticed(name: str) -> None:
    events, rule = WRONG_HISTORIES[name]
    assert rule in rules(events, right_state())


def test_what_was_refused_keeps_its_place_in_every_answer() -> None:
    seen = (REFUSED_BEFORE, *accepted(FIRST))
    events = replaced(0, wanted=(WANTED, WANTED), seen=seen)
    row = RememberedRow(account_id=ACCOUNT, key="key 1", cast_ids=(UUID(int=0), FIRST))
    state = change(right_state(), remembered=(row, right_state().remembered[1]))
    assert rules(events, state) == set()


@pytest.mark.parametrize("ended_at", [None, NOON + 3.0 + ENDED_SECONDS_MAX + 0.1])
def test_a_late_end_is_noticed(ended_at: float | None) -> None:
    late = Ending(healed_at=NOON + 3.0, ended_at=ended_at)
    assert any(rule.startswith("all casts end within") for rule in rules(right_history(), right_state(), late))


def test_a_lost_answer_proves_nothing() -> None:
    """A cast whose caller heard nothing, or that its outcome is unknown, may exist."""
    for fields in (
        {"status": None, "error": "ReadError"},
        {"status": 503, "error": "outcome_unknown", "retry_after": "5"},
    ):
        assert rules(replaced(0, seen=(), **fields), right_state()) == set()


def test_a_story_names_the_cast_and_its_requests(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    History(right_history()).save(file)
    history, state = load(file), with_cast(usage_micros=(COST, COST))
    (violation,) = check(history, state, IN_TIME)
    told = story(history, state, violation)
    assert str(FIRST) in told
    assert told.count(" -> ") == 2
    assert "key 2" not in told
