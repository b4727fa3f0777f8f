"""What a person reads after a run: figures, and for each violation the smallest part of the history that shows it."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.chaos.checker import Ending
from tests.chaos.final_state import FinalState
from tests.chaos.history import Call, ClockMove, Fault, History
from tests.chaos.violation import Violation

STORIES_PER_RULE_MAX = 2
EVENTS_SHOWN = 40
# Around the calls of a story, faults up to so long before the first of them may have caused it.
FAULTS_BEFORE_SECONDS = 15.0
FAULTS_AFTER_SECONDS = 2.0


def figures(history: History, state: FinalState, ending: Ending) -> dict[str, object]:
    """Return what the run did, for the report and for comparison."""
    accepted = {cast_id for call in history.calls for cast_id in call.accepted_ids}
    return {
        "calls": len(history.calls),
        "answers": dict(Counter(str(call.status or call.error) for call in history.calls).most_common()),
        "refusals": dict(Counter(one.refusal for call in history.calls for one in call.seen if one.refusal)),
        "casts": len(state.casts),
        "acknowledged": len(accepted),
        "endings": dict(Counter(cast.error_code or "succeeded" for cast in state.casts).most_common()),
        "faults": dict(Counter(fault.name for fault in history.faults).most_common()),
        "clock_moves": len(history.clock_moves),
        "ended_after_seconds": None if ending.ended_at is None else round(ending.ended_at - ending.healed_at, 1),
        "wire_entries_max": max((sample.entries for sample in history.wire_samples), default=0),
    }


def story(history: History, state: FinalState, violation: Violation) -> str:
    """Return the events of one violation: of its cast, else of its call, else the last of its account."""
    calls = _calls_of(history, violation)
    shown: list[tuple[float, str]] = [(call.sent_at, _call_line(call)) for call in calls]
    begin = min((call.sent_at for call in calls), default=violation.at or 0.0) - FAULTS_BEFORE_SECONDS
    end = max([*(call.answered_at for call in calls), violation.at or 0.0], default=0.0) + FAULTS_AFTER_SECONDS
    shown += [
        (event.began_at, f"{_clock(event.began_at)}        {_fault_text(event)}")
        for event in (*history.faults, *history.clock_moves)
        if begin <= event.began_at <= end
    ]
    lines = [text for _, text in sorted(shown)[-EVENTS_SHOWN:]]
    rows = [f"  row: {msgspec.json.encode(cast).decode()}" for cast in state.casts if cast.id == violation.cast_id]
    head = f"* {violation.rule}: {violation.detail} (account {violation.account_id}, cast {violation.cast_id})"
    return "\n".join([head, *(f"  {line}" for line in lines), *rows])


def text(
    seed: str, history: History, state: FinalState, ending: Ending, violations: Sequence[Violation], file: Path
) -> str:
    """Return the whole report."""
    lines = [f"seed: {seed}", f"history: {file}"]
    lines += [f"{name}: {value}" for name, value in figures(history, state, ending).items()]
    lines.append(f"violations: {len(violations)} {dict(Counter(one.rule for one in violations))}")
    by_rule: dict[str, list[str]] = {}
    for one in sorted(violations, key=lambda one: len(_calls_of(history, one))):
        stories = by_rule.setdefault(one.rule, [])
        if len(stories) < STORIES_PER_RULE_MAX:
            stories.append(story(history, state, one))
    return "\n".join([*lines, *(told for stories in by_rule.values() for told in stories)])


def _calls_of(history: History, violation: Violation) -> list[Call]:
    if violation.cast_id is not None:
        named = [call for call in history.calls if _names(call, violation)]
        keys = {call.idempotency_key for call in named if call.idempotency_key is not None}
        return [call for call in history.calls if call in named or call.idempotency_key in keys]
    if violation.call is not None:
        return [call for call in history.calls if call.number == violation.call]
    of_account = [call for call in history.calls if call.account_id == violation.account_id]
    return of_account[-EVENTS_SHOWN:]


def _names(call: Call, violation: Violation) -> bool:
    return (
        call.number == violation.call or violation.cast_id in call.accepted_ids or str(violation.cast_id) in call.path
    )


def _call_line(call: Call) -> str:
    took_ms = round((call.answered_at - call.sent_at) * 1000)
    told = " ".join(f"{one.status}:{one.cast_status or one.refusal}" for one in call.seen[:4])
    key = "" if call.idempotency_key is None else f" key {call.idempotency_key[:8]}"
    answer = call.status or f"no answer ({call.error})"
    return f"{_clock(call.sent_at)} api {call.api} {call.kind} {call.path}{key} -> {answer} in {took_ms} ms {told}"


def _fault_text(event: Fault | ClockMove) -> str:
    if isinstance(event, ClockMove):
        return f"Postgres' clock moves to {event.offset_seconds:.0f} s ahead"
    return f"FAULT {event.name} {event.detail}, made good after {event.ended_at - event.began_at:.1f} s"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%H:%M:%S.%f")[:-3]
