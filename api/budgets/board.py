"""The last known standing of callers' tightest budgets, for the Budget headers of answers that read no budget."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import UUID

from api.auth import Principal
from api.call import Call
from api.errors import Headers
from domain.model.errors import Standing

# Older than this a standing is not shown; nothing reads Postgres only for headers.
FRESH_S: Final = 1.0
CALLERS_MAX: Final = 10_000


class BudgetBoard:
    """Filled by admission, which knows exactly; read by every authenticated answer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._standings: OrderedDict[UUID, tuple[float, Headers]] = OrderedDict()

    def note(self, caller_id: UUID, standing: Standing) -> Headers:
        """Remember the standing of a key or account, and return its headers."""
        headers = budget_headers(standing)
        self._standings[caller_id] = (self._clock(), headers)
        if len(self._standings) > CALLERS_MAX:
            self._standings.popitem(last=False)
        return headers

    def show(self, call: Call, principal: Principal) -> None:
        """Add the caller's budget to the answer, when it is known as of a second ago."""
        known = self._standings.get(principal.key_id or principal.account_id)
        if known is not None and self._clock() - known[0] <= FRESH_S:
            call.answer_headers += known[1]


def budget_headers(standing: Standing) -> Headers:
    """Return the four headers: micros of a US dollar, and epoch seconds."""
    return [
        (b"budget-limit", b"%d" % standing.limit_micros),
        (b"budget-spent", b"%d" % standing.spent_micros),
        (b"budget-held", b"%d" % standing.held_micros),
        (b"budget-reset", b"%d" % int(standing.resets_at.timestamp())),
    ]
