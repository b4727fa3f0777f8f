"""Proves a run right or shows what is wrong with it, from what callers saw and the rows it left. Pure.

Each rule yields violations. Nothing of the platform's code is used: what a cast may cost is told again here.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from tests.chaos import budgets
from tests.chaos.final_state import CastRow, FinalState
from tests.chaos.history import Call, History
from tests.chaos.violation import Violation

FINAL = frozenset({"succeeded", "failed", "canceled", "expired"})
ACCEPTED = frozenset({200, 202})
TOO_MANY, SERVER_ERROR, UNAVAILABLE = 429, 500, 503
# What the platform may say of any cast when its own parts fail; none of it costs anything.
OURS = frozenset({"platform_error", "poison", "sandbox_crashed", "deadline_passed"})
FREE_OF_CHARGE = OURS
STATUS_OF = {"succeeded": "succeeded", "canceled": "canceled", "deadline_passed": "expired"}
# At the place of a cast that was refused, in what is remembered of a request and so in each of its answers.
NO_CAST = UUID(int=0)
PER_CAST_MICROS = 1_000
PER_GFUEL_MICROS = 1_500
GFUEL = 10**9
ENDED_SECONDS_MAX = 30.0
DEADLINE_SECONDS = 15 * 60
# One entry in a hundred beyond the casts that are open; a run that is small may have this many.
ENTRIES_SPARE_PERCENT = 1
ENTRIES_SPARE_MIN = 2
# A report is on its way between the worker that took its entry off the stream and the ledger that ends the cast.
SAMPLE_SLACK_US = 1_000_000
# Who ends a cast that a worker may hold leaves its entry to that worker, which reports and finds the cast final.
LEFT_ON_THE_WIRE = frozenset({"deadline_passed", "canceled"})
# A Redis that comes back with an old file has entries whose casts have ended since; they are run again and end as
# strays once a worker has started, and until then they are no sign of a storm.
OLD_FILE = "cut the append-only file"
OLD_ENTRIES_SECONDS = 20.0


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """When the last fault was made good and when the last cast had ended, by our clock."""

    healed_at: float
    ended_at: float | None
    """None: not all ended while somebody waited."""


def check(history: History, state: FinalState, ending: Ending) -> list[Violation]:
    """Return everything that is wrong, one violation for each cast, request or limit and rule."""
    return [violation for rule in RULES for violation in rule(history, state, ending)]


def acknowledged_casts_exist(history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    owner = {cast.id: cast.account_id for cast in state.casts}
    for call in history.calls:
        for cast_id in call.accepted_ids:
            if owner.get(cast_id) != call.account_id:
                yield Violation(
                    rule="an acknowledged cast exists", cast_id=cast_id, account_id=call.account_id, call=call.number
                )


def every_cast_ended_once(_history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    for cast in state.casts:
        if cast.status not in FINAL:
            yield _of(cast, "every cast has ended", f"it is {cast.status}")
        elif len(cast.usage_micros) != 1:
            yield _of(cast, "a cast is charged once", f"{len(cast.usage_micros)} usage events")
        elif cast.usage_micros[0] != cast.cost_micros:
            yield _of(cast, "a cast is charged what it cost", f"{cast.usage_micros[0]}, not {cast.cost_micros}")


def all_ended_in_time(_history: History, state: FinalState, ending: Ending) -> Iterator[Violation]:
    if ending.ended_at is None or ending.ended_at - ending.healed_at > ENDED_SECONDS_MAX:
        taken = "not at all" if ending.ended_at is None else f"after {ending.ended_at - ending.healed_at:.1f} s"
        late = max(state.casts, key=lambda cast: cast.settled_us or 2**62, default=None)
        yield Violation(
            rule=f"all casts end within {ENDED_SECONDS_MAX:.0f} s of the last fault",
            detail=taken,
            cast_id=None if late is None else late.id,
            account_id=None if late is None else late.account_id,
        )


def what_was_seen_is_final(history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    rows = {cast.id: cast for cast in state.casts}
    final_since: dict[UUID, float] = {}
    for call in sorted(history.calls, key=lambda call: call.answered_at):
        for seen in call.seen:
            cast = rows.get(seen.cast_id) if seen.cast_id is not None else None
            if cast is None or seen.cast_status not in FINAL:
                continue
            shown = (seen.cast_status, seen.cost_micros, seen.error_code)
            stored = (cast.status, cast.cost_micros, cast.error_code)
            if shown != stored:
                yield _of(cast, "what a caller saw is final", f"seen {shown}, stored {stored}", call)
            if seen.output_sha256 is not None and seen.output_sha256 != cast.output_sha256:
                yield _of(cast, "what a caller saw is final", "another output is stored", call)
            final_since.setdefault(cast.id, call.answered_at)
    for call in history.calls:
        for seen in call.seen:
            since = final_since.get(seen.cast_id) if seen.cast_id is not None else None
            if since is not None and seen.cast_status not in FINAL and call.sent_at > since:
                yield _of(rows[seen.cast_id], "a final cast stays final", f"seen {seen.cast_status} later", call)


def casts_end_as_they_must(history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    """The output and error of each cast are those of its spell, or the platform's own trouble."""
    rows = {cast.id: cast for cast in state.casts}
    canceled = {cast_id for call in history.calls if call.kind == "cancel" for cast_id in _asked(call)}
    for call in history.calls:
        if len(call.wanted) != len(call.seen):
            continue
        for wanted, seen in zip(call.wanted, call.seen, strict=True):
            cast = rows.get(seen.cast_id) if seen.cast_id is not None else None
            if cast is None or cast.status not in FINAL:
                continue
            code = cast.error_code or "succeeded"
            allowed = {*wanted.outcomes, *OURS, *(("canceled",) if cast.id in canceled else ())}
            if code not in allowed or cast.status != STATUS_OF.get(code, "failed"):
                yield _of(cast, "a cast ends as its spell does", f"{cast.status}, {code}", call)
            elif code == "succeeded" and wanted.output_sha256 not in {None, cast.output_sha256}:
                yield _of(cast, "a cast's output is its spell's", f"of {wanted.spell}", call)


def casts_expire_after_their_deadline(_history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    for cast in state.casts:
        if cast.error_code == "deadline_passed" and cast.settled_us is not None:
            lived_seconds = cast.settled_us / 1_000_000 - cast.accepted_ms / 1_000
            if lived_seconds < DEADLINE_SECONDS:
                yield _of(cast, "a cast expires after its deadline", f"after {lived_seconds:.1f} s")


def casts_cost_what_they_used(_history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    for cast in state.casts:
        if cast.cost_micros is None:
            continue
        used = PER_CAST_MICROS + -(-(cast.fuel or 0) * PER_GFUEL_MICROS // GFUEL)
        allowed = {0} if cast.error_code in FREE_OF_CHARGE else {0, used} if cast.error_code == "canceled" else {used}
        if cast.cost_micros not in allowed or cast.cost_micros > cast.held_micros:
            detail = f"{cast.cost_micros} micros for {cast.error_code or 'success'} with {cast.fuel} fuel"
            yield _of(cast, "a cast costs what it used", detail)


def requests_are_done_once(history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    """One idempotency key, one set of casts: in every answer, in the database, and nothing beside it."""
    remembered = {(row.account_id, row.key): row.cast_ids for row in state.remembered}
    sent: dict[tuple[UUID, str], list[Call]] = defaultdict(list)
    for call in history.calls:
        if call.idempotency_key is not None:
            sent[call.account_id, call.idempotency_key].append(call)
    for key, calls in sent.items():
        stored = remembered.get(key, ())
        made = tuple(one for one in stored if one != NO_CAST)
        for call in calls:
            ids = call.accepted_ids
            if ids and tuple(one.cast_id or NO_CAST for one in call.seen) != stored:
                detail = f"answered with {len(ids)} casts, {len(made)} are stored, {len({*made} & {*ids})} equal"
                yield Violation(
                    rule="a request that is sent again gives the same casts",
                    detail=detail,
                    account_id=key[0],
                    cast_id=ids[0],
                    call=call.number,
                )
        if made and all(_held_nothing(call) for call in calls):
            yield Violation(
                rule="a refused request holds nothing", account_id=key[0], cast_id=made[0], call=calls[-1].number
            )
        if len(stored) > len(calls[0].wanted):
            yield Violation(rule="a request makes no more casts than it asks for", account_id=key[0], cast_id=made[0])
    explained = Counter(cast_id for key in sent for cast_id in remembered.get(key, ()))
    for cast in state.casts:
        if explained[cast.id] != 1:
            yield _of(cast, "every cast was asked for once", f"by {explained[cast.id]} requests")


def _held_nothing(call: Call) -> bool:
    """Tell whether the answer says for certain that nothing was accepted."""
    return call.status is not None and call.status not in ACCEPTED and call.error != "outcome_unknown"


def who_is_told_to_wait_is_told_how_long(history: History, _state: FinalState, _ending: Ending) -> Iterator[Violation]:
    for call in history.calls:
        if call.status is not None and call.status >= SERVER_ERROR and call.status != UNAVAILABLE:
            yield Violation(
                rule="the platform answers, or says 503",
                detail=f"{call.status} {call.error}",
                account_id=call.account_id,
                call=call.number,
            )
        elif call.status in {UNAVAILABLE, TOO_MANY} and not (call.retry_after or "").isdigit():
            yield Violation(
                rule="503 and 429 say when to come again",
                detail=f"{call.status} {call.error}",
                account_id=call.account_id,
                call=call.number,
            )


def holds_are_those_of_open_casts(_history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    held: Counter[UUID] = Counter()
    spent: Counter[UUID] = Counter()
    for cast in state.casts:
        places = (*cast.window_ids, _month_key(cast.account_id, cast.accepted_ms))
        for place in places:
            held[place] += cast.held_micros if cast.status not in FINAL else 0
            spent[place] += cast.cost_micros or 0
    for window in state.windows:
        if (window.held_micros, window.spent_micros) != (held[window.id], spent[window.id]):
            detail = (
                f"window {window.id} holds {window.held_micros} and spent {window.spent_micros},"
                f" its casts {held[window.id]} and {spent[window.id]}"
            )
            yield Violation(rule="held is the sum of open holds", detail=detail, account_id=window.account_id)
    for month in state.months:
        place = _month_key(month.account_id, int(datetime(*month.month.timetuple()[:3], tzinfo=UTC).timestamp() * 1000))
        if (month.held_micros, month.spent_micros) != (held[place], spent[place]):
            detail = f"month {month.month}: {month.held_micros} and {month.spent_micros}, {held[place]}, {spent[place]}"
            yield Violation(rule="a month holds its open holds", detail=detail, account_id=month.account_id)


def _month_key(account_id: UUID, at_ms: int) -> UUID:
    instant = datetime.fromtimestamp(at_ms / 1000, tz=UTC)
    return UUID(int=account_id.int ^ (instant.year * 12 + instant.month))


def the_ledger_moved_what_casts_cost(_history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    if state.ledger_sum_micros:
        yield Violation(rule="the ledger sums to zero", detail=f"{state.ledger_sum_micros} micros")
    cost: Counter[UUID] = Counter()
    for cast in state.casts:
        cost[cast.account_id] += cast.cost_micros or 0
    for account_id in {*cost, *state.booked_micros}:
        booked = state.booked_micros.get(account_id, 0)
        if booked != cost[account_id]:
            detail = f"{booked} micros booked, the casts cost {cost[account_id]}"
            yield Violation(rule="the ledger moved what the casts cost", detail=detail, account_id=account_id)


def the_database_agrees(_history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    for text in state.broken:
        yield Violation(rule="the books agree with each other", detail=text)


def the_wire_carries_no_more_than_is_open(history: History, state: FinalState, _ending: Ending) -> Iterator[Violation]:
    """Job entries are not more than the casts open at that time, and one in a hundred."""
    clock = budgets.clock_of(history)
    cuts = [fault for fault in history.faults if fault.name == OLD_FILE]
    for sample in history.wire_samples:
        if any(cut.began_at <= sample.ended_at < cut.ended_at + OLD_ENTRIES_SECONDS for cut in cuts):
            continue
        begin_us = clock.earliest_us(sample.began_at) - SAMPLE_SLACK_US
        end_us = clock.latest_us(sample.ended_at)
        possible = sum(
            cast.accepted_ms * 1000 <= end_us
            and (cast.settled_us is None or cast.settled_us >= begin_us or cast.error_code in LEFT_ON_THE_WIRE)
            for cast in state.casts
        )
        spare = max(ENTRIES_SPARE_MIN, possible * ENTRIES_SPARE_PERCENT // 100)
        if sample.entries > possible + spare:
            detail = f"{sample.entries} entries, {possible} casts open"
            yield Violation(rule="the wire carries no more than is open", detail=detail, at=sample.ended_at)


def _asked(call: Call) -> set[UUID]:
    return {UUID(part) for part in call.path.split("/") if len(part) == len(str(UUID(int=0)))}


def _of(cast: CastRow, rule: str, detail: str, call: Call | None = None) -> Violation:
    return Violation(
        rule=rule,
        detail=detail,
        cast_id=cast.id,
        account_id=cast.account_id,
        call=None if call is None else call.number,
    )


Rule = Callable[[History, FinalState, Ending], Iterator[Violation]]
RULES: tuple[Rule, ...] = (
    acknowledged_casts_exist,
    every_cast_ended_once,
    all_ended_in_time,
    what_was_seen_is_final,
    casts_end_as_they_must,
    casts_expire_after_their_deadline,
    casts_cost_what_they_used,
    requests_are_done_once,
    who_is_told_to_wait_is_told_how_long,
    holds_are_those_of_open_casts,
    the_ledger_moved_what_casts_cost,
    the_database_agrees,
    the_wire_carries_no_more_than_is_open,
    lambda history, state, _ending: budgets.no_limit_is_passed(history, state),
    lambda history, state, _ending: budgets.each_402_is_justified(history, state),
)
