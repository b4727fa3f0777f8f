"""The standing of callers' tightest budgets as last known, for the Budget headers of answers that read no budget."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

from domain.model.errors import Standing
from domain.model.tightest import tightest_standing

# Only callers that have a budget: as many as keys and sessions are remembered together.
CALLERS_MAX: Final = 20_000
_HEADERS: Final = b"\r\nbudget-limit: %d\r\nbudget-spent: %d\r\nbudget-held: %d\r\nbudget-reset: %d"


class _Known:
    """What was learnt of a caller's budgets, and of when it is; rendered when it is first shown."""

    __slots__ = ("as_of", "budgets", "lines")

    def __init__(self, as_of: float, budgets: str | None, lines: bytes | None) -> None:
        self.as_of = as_of
        self.budgets = budgets
        self.lines = lines


class BudgetBoard:
    """Filled by look-ups of callers, which happen anyway, and by admission, which knows exactly; read by every answer.

    A caller is shown only after `api.auth` or `api.sessions.known` identified him, and they look again whenever the
    last look-up was a second ago: what stands here of him is that of this look-up, or of a cast after it. So nothing
    that is shown is older than a second, and nothing is read for it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By the numbers of the ids: a UUID is hashed and compared in Python.
        self._known: OrderedDict[int, _Known] = OrderedDict()

    def note(self, caller_id: UUID, standing: Standing) -> bytes:
        """Take what admission found for a key or account, and return its headers as `api.protocol` takes them.

        Kept for other answers only where it binds the caller wherever he asks: not the budget of a spell, nor the
        platform's own limit.
        """
        lines = budget_lines(standing)
        if standing.limit_id is not None and standing.scope != "spell":
            self._keep(caller_id.int, _Known(self._clock(), None, lines))
        return lines

    def learn(self, caller_id: UUID, budgets: str | None, *, asked_at: float) -> None:
        """Take what a look-up that began at `asked_at` found; None: no hard budget. A later cast's figures stay."""
        number = caller_id.int
        known = self._known.get(number)
        if known is not None and known.as_of > asked_at:
            return
        if budgets is None:
            if known is not None:
                del self._known[number]
        elif known is not None and known.budgets == budgets:
            known.as_of = asked_at
            self._known.move_to_end(number)
        else:
            self._keep(number, _Known(asked_at, budgets, None))

    def lines(self, caller_id: UUID) -> bytes:
        """Return the headers of a caller who was identified just now; none where no hard budget binds him."""
        known = self._known.get(caller_id.int)
        if known is None:
            return b""
        if known.lines is None:
            standing = None if known.budgets is None else tightest_standing(known.budgets)
            known.lines = b"" if standing is None else budget_lines(standing)
        return known.lines

    def _keep(self, number: int, known: _Known) -> None:
        self._known[number] = known
        self._known.move_to_end(number)
        if len(self._known) > CALLERS_MAX:
            self._known.popitem(last=False)


def tightest_noted(standings: Iterable[Standing]) -> Standing | None:
    """Return the tightest of what admission said of the casts of one batch, each budget as it was said last."""
    last = {standing.limit_id: standing for standing in standings}
    return min(last.values(), key=_room, default=None)


def budget_lines(standing: Standing) -> bytes:
    """Return the four headers: micros of a US dollar, and epoch seconds."""
    resets_at_s = _epoch_s(standing.resets_at)
    return _HEADERS % (standing.limit_micros, standing.spent_micros, standing.held_micros, resets_at_s)


# Everybody's budgets reset at a few instants: the next day and the next month.
@lru_cache(maxsize=16)
def _epoch_s(instant: datetime) -> int:
    return int(instant.timestamp())


def _room(standing: Standing) -> int:
    return standing.limit_micros - standing.spent_micros - standing.held_micros
