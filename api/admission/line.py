"""The requests that wait to be admitted: how many there may be, and how many of them make a batch."""

import asyncio
from collections import deque
from typing import Final

import msgspec

from api.admission.rate import Allowance, Caller
from api.admission.waiting import Waiter
from api.errors import overloaded
from domain.model.admission import AdmissionRequest, Verdict
from domain.model.errors import Refusal, RefusedError
from domain.model.limits import MIB

BATCH_REQUESTS_MAX: Final = 256
BATCH_CASTS_MAX: Final = 1_024
BATCH_BYTES_MAX: Final = 8 * MIB
# What two seconds of the fastest machine admit; more in line than that could only be dropped.
LINE_REQUESTS_MAX: Final = 20_000
LINE_BYTES_MAX: Final = 64 * MIB


class Admitted(msgspec.Struct, frozen=True):
    """The verdict on a request, what is left of its rate, and the waiter of a single accepted cast that was to wait."""

    verdict: Verdict
    allowance: Allowance
    waiter: Waiter | None


class Pending:
    """A request in line. `refused` short-cuts the answer."""

    __slots__ = ("allowance", "arrived", "caller", "casts", "future", "request", "size_bytes", "waits")

    def __init__(
        self,
        request: AdmissionRequest,
        caller: Caller,
        arrived: float,
        future: asyncio.Future[Admitted],
        *,
        waits: bool,
    ) -> None:
        self.request = request
        self.caller = caller
        self.arrived = arrived
        self.waits = waits
        self.casts = len(request.casts)
        self.size_bytes = sum([len(spec.input) for spec in request.casts])
        self.allowance: Allowance | None = None
        self.future = future

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal."""
        if not self.future.done():
            self.future.set_exception(RefusedError(refusal))
            self.future.exception()  # its caller may have gone

    def answer(self, verdict: Verdict, waiter: Waiter | None = None) -> None:
        """Answer with a verdict."""
        assert self.allowance is not None, "the rate is asked before the verdict"
        if not self.future.done():
            self.future.set_result(Admitted(verdict, self.allowance, waiter))


class Line:
    """First come, first admitted."""

    def __init__(self) -> None:
        self._waiting: deque[Pending] = deque()
        self._bytes = 0
        self.arrived: Final = asyncio.Event()
        """Set while somebody waits."""

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    @property
    def fills_a_batch(self) -> bool:
        """Whether the next batch would be as large with more of them."""
        return len(self._waiting) >= BATCH_REQUESTS_MAX

    def add(self, pending: Pending) -> None:
        """Put a request at the end. Raises RefusedError when the line is full."""
        if len(self._waiting) >= LINE_REQUESTS_MAX or self._bytes >= LINE_BYTES_MAX:
            raise RefusedError(overloaded("Too many requests are in line. Nothing was held; try again."))
        self._waiting.append(pending)
        self._bytes += pending.size_bytes
        self.arrived.set()

    def take(self) -> list[Pending]:
        """Return the next batch, which is no longer in line."""
        batch: list[Pending] = []
        casts = size_bytes = 0
        while self._waiting and len(batch) < BATCH_REQUESTS_MAX:
            pending = self._waiting[0]
            casts += pending.casts
            size_bytes += pending.size_bytes
            if batch and (casts > BATCH_CASTS_MAX or size_bytes > BATCH_BYTES_MAX):
                break
            batch.append(self._waiting.popleft())
            self._bytes -= pending.size_bytes
        if not self._waiting:
            self.arrived.clear()
        return batch
