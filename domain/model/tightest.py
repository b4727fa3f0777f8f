"""Which of the budgets that bind somebody has the least room, and how it stands: one rule for casts and headers."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from domain.model.admission_state import WindowState
from domain.model.errors import Standing
from domain.model.periods import resets_after

_decode: Final = msgspec.json.Decoder(list[WindowState]).decode


def tightest_of(windows: Iterable[WindowState]) -> WindowState | None:
    """Return the hard budget with the least room left; among equals the first that comes."""
    tightest: WindowState | None = None
    least = 0
    for window in windows:
        if window.hard_limit_micros is None:
            continue
        room = room_of(window)
        if tightest is None or room < least:
            tightest, least = window, room
    return tightest


def room_of(window: WindowState) -> int:
    """Return what a hard budget has left, in micros; below nothing where its limit was lowered since."""
    assert window.hard_limit_micros is not None, "only a hard limit leaves room"
    return window.hard_limit_micros - window.spent_micros - window.held_micros


def standing_of(window: WindowState, *, needed_micros: int, resets_at: datetime) -> Standing:
    """Return how a hard budget stands, for whoever asks `needed_micros` of it."""
    assert window.hard_limit_micros is not None, "only a hard limit is shown"
    return Standing(
        limit_id=window.budget_id,
        scope=window.scope,
        scope_id=window.scope_id,
        period=window.period,
        limit_micros=window.hard_limit_micros,
        spent_micros=window.spent_micros,
        held_micros=window.held_micros,
        needed_micros=needed_micros,
        resets_at=resets_at,
    )


def tightest_standing(budgets: str) -> Standing | None:
    """Return how the tightest stands of budgets that were read as JSON; among equals the first by window id."""
    window = tightest_of(sorted(_decode(budgets), key=lambda one: one.id.int))
    if window is None:
        return None
    return standing_of(window, needed_micros=0, resets_at=resets_after(window.period, window.starts_on))
