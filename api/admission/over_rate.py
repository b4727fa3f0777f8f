"""Requests over their rate: refused anyway, without a lock; the budget only decides between 402 and 429."""

from collections.abc import Callable, Hashable, Sequence
from typing import Final

import msgspec

from domain.flow.reserve import judge
from domain.model.admission import AdmissionRequest, Judged, Verdict
from domain.model.admission_state import Terms
from domain.model.errors import Code, Refusal
from domain.store.connection import Pool, StoreError, transaction

# A caller at fifty times its rate must not make Postgres read its budgets fifty times as often.
FRESH_S: Final = 1.0
REMEMBERED_MAX: Final = 10_000


class OverRate:
    """Judges over-rate requests against totals at most FRESH_S old."""

    def __init__(self, engine_pool: Pool, *, clock: Callable[[], float]) -> None:
        self._pool = engine_pool
        self._clock = clock
        self._verdicts: dict[Hashable, tuple[float, Verdict]] = {}

    async def judge(self, requests: Sequence[AdmissionRequest], terms: Terms) -> list[Verdict]:
        """Return a refusal for each of `requests`, which all have `retry_after_s` set. Never raises StoreError."""
        unknown = {_likeness(request): request for request in requests if self.remembered(request) is None}
        if unknown:
            await self._look(unknown, terms)
        return [self._verdict(request) for request in requests]

    def remembered(self, request: AdmissionRequest) -> Verdict | None:
        """Return what `judge` would without looking; None: it would look."""
        known = self._verdicts.get(_likeness(request))
        return None if known is None or known[0] < self._clock() - FRESH_S else self._verdict(request)

    async def _look(self, unknown: dict[Hashable, AdmissionRequest], terms: Terms) -> None:
        if len(self._verdicts) + len(unknown) > REMEMBERED_MAX:
            self._verdicts.clear()
        asked_at = self._clock()
        try:
            async with transaction(self._pool) as connection:
                verdicts = await judge(connection, list(unknown.values()), terms)
        except StoreError:
            return  # without Postgres it is the rate that refuses
        for likeness, verdict in zip(unknown, verdicts, strict=True):
            self._verdicts[likeness] = (asked_at, verdict)

    def _verdict(self, request: AdmissionRequest) -> Verdict:
        remembered = self._verdicts.get(_likeness(request))
        if remembered is None:
            return Judged(results=tuple(_over_rate(request) for _ in request.casts))
        verdict = remembered[1]
        if not isinstance(verdict, Judged):
            return verdict
        results = tuple(
            _over_rate(request) if isinstance(result, Refusal) and result.code is Code.RATE_LIMITED else result
            for result in verdict.results
        )
        return msgspec.structs.replace(verdict, results=results)


def _likeness(request: AdmissionRequest) -> Hashable:
    """Return what two requests must have in common to be judged alike."""
    casts = tuple(
        (
            *(spec.spell_id, spec.price, spec.quote, spec.max_price_micros),
            *(spec.limits.fuel, spec.limits.output_bytes, spec.pool),
        )
        for spec in request.casts
    )
    return (request.account_id, request.key_id, request.session_id, casts)


def _over_rate(request: AdmissionRequest) -> Refusal:
    return Refusal(
        code=Code.RATE_LIMITED,
        detail="This key is over its rate limit. Slow down.",
        retry_after_s=request.retry_after_s,
    )
