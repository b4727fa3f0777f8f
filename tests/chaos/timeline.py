"""What a limit had spent and held at each instant, told again from the casts alone. Pure."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from tests.chaos.final_state import CastRow
from tests.chaos.history import ClockMove

US_PER_MS = 1_000


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What the limit stood at from an instant of Postgres' clock on."""

    at_us: int
    cast_id: UUID
    spent: int
    held: int

    @property
    def total(self) -> int:
        return self.spent + self.held


class Stake(msgspec.Struct, frozen=True, kw_only=True):
    """What one cast takes of a limit: `held` while it is open, `spent` once it has ended."""

    cast: CastRow
    held: int
    spent: int


def steps(stakes: Iterable[Stake], *, settle_first: bool = True) -> list[Step]:
    """Return the states of a limit in order.

    The instant of an acceptance is known to the millisecond and that of a settlement to the microsecond, so their
    order within one millisecond is not known; `settle_first` chooses.
    """
    moves: list[tuple[int, int, UUID, int, int, int]] = []
    for stake in stakes:
        cast = stake.cast
        moves.append((cast.accepted_ms * US_PER_MS, 1, cast.id, 0, stake.held, cast.accepted_ms * US_PER_MS))
        if cast.settled_us is not None:
            floor_us = cast.settled_us // US_PER_MS * US_PER_MS
            settle_rank = 0 if settle_first else 2
            moves.append((floor_us, settle_rank, cast.id, stake.spent, -stake.held, cast.settled_us))
    spent = held = 0
    told: list[Step] = []
    for _, _, cast_id, more_spent, more_held, at_us in sorted(moves):
        spent += more_spent
        held += more_held
        told.append(Step(at_us=at_us, cast_id=cast_id, spent=spent, held=held))
    return told


def highest(told: Sequence[Step]) -> Step | None:
    return max(told, key=lambda step: step.total, default=None)


def between(told: Sequence[Step], begin_us: int, end_us: int) -> list[Step]:
    """Return every state the limit was in at some time between two instants, the one at the beginning included."""
    inside = [step for step in told if begin_us <= step.at_us <= end_us]
    before = [step for step in told if step.at_us < begin_us]
    nothing = Step(at_us=0, cast_id=UUID(int=0), spent=0, held=0)
    return [before[-1] if before else nothing, *inside]


class DatabaseClock:
    """Turns our clock into Postgres', which a run may have moved forward."""

    def __init__(self, moves: Sequence[ClockMove]) -> None:
        self._moves = sorted(moves, key=lambda move: move.at)

    def earliest_us(self, at: float) -> int:
        """Return the least that Postgres' clock can have shown at our time `at`."""
        offsets = [move.offset_seconds for move in self._moves if move.at <= at]
        return round((at + (offsets[-1] if offsets else 0.0)) * 1_000_000)

    def latest_us(self, at: float) -> int:
        """Return the most that Postgres' clock can have shown at our time `at`: a move may have just been made."""
        offsets = [move.offset_seconds for move in self._moves if move.began_at <= at]
        return round((at + (offsets[-1] if offsets else 0.0)) * 1_000_000)
