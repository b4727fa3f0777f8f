"""The two promises about every limit: it is never passed, and it never refuses too early. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from tests.chaos.final_state import CastRow, FinalState
from tests.chaos.history import Call, History, Limit, Seen, Wanted
from tests.chaos.timeline import DatabaseClock, Stake, Step, between, highest, steps
from tests.chaos.violation import Violation

PAYMENT_REQUIRED = 402
PER_CAST_MICROS = 1_000
PER_GFUEL_MICROS = 1_500
GFUEL = 10**9
# Postgres' clock and ours are the same machine's; this is for the rounding of either.
CLOCK_SLACK_US = 2_000
# A cast that may use more than this is never free.
FREE_FUEL_MAX = 10**9
BUDGET_EXCEEDED = "budget_exceeded"
CREDITS = "insufficient_credits"
FREE = "free_tier_exhausted"


# The id of a budget, or an account and what it is refused with.
MeterKey = UUID | tuple[UUID, str]


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A limit and how it stood, by either order of what happened in one millisecond."""

    name: str
    account_id: UUID
    limit: int
    settle_first: list[Step]
    accept_first: list[Step]

    def states(self, begin_us: int, end_us: int) -> list[Step]:
        told = (self.settle_first, self.accept_first)
        return [step for one in told for step in between(one, begin_us, end_us)]


def clock_of(history: History) -> DatabaseClock:
    return DatabaseClock(history.clock_moves)


def no_limit_is_passed(_history: History, state: FinalState) -> Iterator[Violation]:
    """At no instant was more spent and held than a limit allows."""
    for meter in (meter for meters in _meters(state).values() for meter in meters):
        top = highest(meter.settle_first)
        if top is not None and top.total > meter.limit:
            detail = f"{meter.name} of {meter.limit} stood at {top.spent} spent and {top.held} held"
            yield Violation(
                rule="no limit is passed at any instant",
                detail=detail,
                account_id=meter.account_id,
                cast_id=top.cast_id,
            )


def each_402_is_justified(history: History, state: FinalState) -> Iterator[Violation]:
    """At some instant between question and answer the limit had no room, and stood as the answer says."""
    meters = _meters(state)
    clock = clock_of(history)
    for call, wanted, seen in _refusals(history):
        begin_us = clock.earliest_us(call.sent_at) - CLOCK_SLACK_US
        end_us = clock.latest_us(call.answered_at) + CLOCK_SLACK_US
        wrong: str | None
        if seen.refusal == BUDGET_EXCEEDED and seen.limit is not None and seen.limit.id is not None:
            wrong = _unlike_budget(seen.limit, meters.get(seen.limit.id, []), begin_us, end_us, _needed(wanted))
        elif seen.refusal == FREE and wanted.fuel > FREE_FUEL_MAX:
            wrong = None
        elif seen.refusal in {CREDITS, FREE}:
            needed = _needed(wanted) if seen.refusal == CREDITS else 1
            wrong = _unlike_meters(meters.get((call.account_id, seen.refusal), []), needed, begin_us, end_us)
        else:
            wrong = f"nothing in this run is refused with {seen.refusal}"
        if wrong is not None:
            yield Violation(
                rule="a 402 is justified when it is said",
                detail=wrong,
                account_id=call.account_id,
                call=call.number,
                at=call.answered_at,
            )


def _refusals(history: History) -> Iterator[tuple[Call, Wanted, Seen]]:
    for call in history.calls:
        if call.wanted and len(call.seen) == len(call.wanted):
            for wanted, seen in zip(call.wanted, call.seen, strict=True):
                if seen.status == PAYMENT_REQUIRED:
                    yield call, wanted, seen


def _needed(wanted: Wanted) -> int:
    return PER_CAST_MICROS + -(-wanted.fuel * PER_GFUEL_MICROS // GFUEL)


def _unlike_budget(said: Limit, meters: list[Meter], begin_us: int, end_us: int, needed: int) -> str | None:
    """Return what is wrong with a refusal by a budget, None when it is right."""
    if said.needed_micros != needed:
        return f"it needed {needed}, not {said.needed_micros}"
    if said.spent_micros + said.held_micros + needed <= said.limit_micros:
        return f"by its own figures there was room: {said}"
    if said.spent_micros == said.held_micros == 0:
        return None
    for meter in meters:
        states = meter.states(begin_us, end_us)
        if meter.limit == said.limit_micros and any(
            (step.spent, step.held) == (said.spent_micros, said.held_micros) for step in states
        ):
            return None
    seen = [(step.spent, step.held) for meter in meters for step in meter.states(begin_us, end_us)]
    return f"{said.spent_micros} spent and {said.held_micros} held never stood there meanwhile, but {seen[:6]}"


def _unlike_meters(meters: list[Meter], needed: int, begin_us: int, end_us: int) -> str | None:
    """Return None when one of these, each of its own month, had no room; else how they stood."""
    tops = [(meter, highest(meter.states(begin_us, end_us))) for meter in meters]
    if any(top is not None and top.total + needed > meter.limit for meter, top in tops):
        return None
    stood = [f"{meter.name} of {meter.limit} stood at {top.total if top else 0} at most" for meter, top in tops]
    return f"{needed} were needed; {'; '.join(stood) or 'the account has no such limit'}"


def _meters(state: FinalState) -> dict[MeterKey, list[Meter]]:
    """Return the windows of each budget, the credits of each account, and its free casts of each month."""
    by_window: dict[UUID, list[CastRow]] = defaultdict(list)
    paid: dict[UUID, list[CastRow]] = defaultdict(list)
    free: dict[tuple[UUID, int, int], list[CastRow]] = defaultdict(list)
    for cast in state.casts:
        for window_id in cast.window_ids:
            by_window[window_id].append(cast)
        if cast.funding == "credits":
            paid[cast.account_id].append(cast)
        elif cast.funding == "free":
            accepted = datetime.fromtimestamp(cast.accepted_ms / 1000, tz=UTC)
            free[cast.account_id, accepted.year, accepted.month].append(cast)
    meters: dict[MeterKey, list[Meter]] = defaultdict(list)
    for window in state.windows:
        if window.limit_micros is not None:
            stakes = [_money(cast) for cast in by_window[window.id]]
            meters[window.budget_id].append(_meter("a window", window.account_id, window.limit_micros, stakes))
    for account_id, granted in state.granted_micros.items():
        stakes = [_money(cast) for cast in paid[account_id]]
        meters[account_id, CREDITS].append(_meter("credits", account_id, granted, stakes))
    for (account_id, _, _), casts in free.items():
        stakes = [_place(cast) for cast in casts]
        meters[account_id, FREE].append(_meter("free casts", account_id, state.free_casts_max, stakes))
    return meters


def _meter(name: str, account_id: UUID, limit: int, stakes: list[Stake]) -> Meter:
    return Meter(
        name=name,
        account_id=account_id,
        limit=limit,
        settle_first=steps(stakes),
        accept_first=steps(stakes, settle_first=False),
    )


def _money(cast: CastRow) -> Stake:
    return Stake(cast=cast, held=cast.held_micros, spent=cast.cost_micros or 0)


def _place(cast: CastRow) -> Stake:
    """Of the free casts: what costs nothing uses up nothing."""
    return Stake(cast=cast, held=1, spent=1 if cast.cost_micros else 0)
