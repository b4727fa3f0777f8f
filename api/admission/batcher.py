"""Group commit: the requests of a moment share one round trip to Redis and one transaction in Postgres.

At rest nothing waits. Under load each batch opens a window of a few milliseconds, because tiny batches eat the
machine; where a whole batch waits already, its rates are asked while the one before it is in Postgres. One account that
somebody else holds never stops the others; one bad row fails alone.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Final
from uuid import UUID

import msgspec

from api.admission.line import BATCH_REQUESTS_MAX, Admitted, Line, Pending
from api.admission.over_rate import OverRate
from api.admission.rate import Allowance, Caller, RateLimiter
from api.admission.waiting import Waiter, Waiting
from api.admission.wire import Wire
from api.operator.metrics import Metrics
from domain.flow.reserve import NotLocked, reserve
from domain.model.admission import Accepted, AdmissionRequest, Judged, Verdict
from domain.model.admission_state import Terms
from domain.model.errors import Code, Refusal
from domain.model.ids import ENTROPY_BYTES
from domain.store.casts import casts_exist
from domain.store.connection import (
    BadRowError,
    CommitInDoubtError,
    Connection,
    LockTimeoutError,
    Pool,
    SerializationError,
    StoreError,
    brief_transaction,
    transaction,
)

_logger: Final = logging.getLogger(__name__)

# Long enough to fill a batch at thousands of requests a second, shorter than the fsync it saves.
WINDOW_S: Final = 0.004
# Who has waited this long has given up, or will; nothing is held for a request that was dropped here.
WAIT_S_MAX: Final = 2.0
# A deadlock or a serialization failure is over when the other side is done.
ATTEMPTS_MAX: Final = 3
# The lane of held accounts tries again this often.
LANE_PAUSE_S: Final = 0.02
IN_DOUBT_S: Final = 5.0
IN_DOUBT_PAUSE_S: Final = 0.1

_STALE: Final = Refusal(
    code=Code.OVERLOADED, detail="The request waited too long and was dropped. Nothing was held.", retry_after_s=1
)
_NO_PRICES: Final = Refusal(
    code=Code.OVERLOADED, detail="There is no price book yet: the operator must run the release step.", retry_after_s=5
)
_NO_DATABASE: Final = Refusal(
    code=Code.OVERLOADED, detail="The database does not answer. Nothing was held; try again.", retry_after_s=1
)
_CANNOT_STORE: Final = Refusal(
    code=Code.VALIDATION, detail="A value of this request cannot be stored. Nothing was held; it has been logged."
)
_INTERNAL: Final = Refusal(code=Code.INTERNAL, detail="Something went wrong on our side. Nothing was held.")


class Batcher:
    """Admits casts for the whole process. `clock` counts seconds and never goes back."""

    def __init__(
        self,
        engine_pool: Pool,
        *,
        limiter: RateLimiter,
        wire: Wire,
        waiting: Waiting,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._pool = engine_pool
        self._limiter = limiter
        self._wire = wire
        self._waiting = waiting
        self._metrics = metrics
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._over_rate = OverRate(engine_pool, clock=clock)
        self.terms: Terms | None = None
        """Read from the price book by a loop; None until it was read once."""
        self._line = Line()
        self._busy_until = 0.0
        self._admitting = False
        self._ahead: tuple[list[Pending], asyncio.Task[None]] | None = None
        """A full batch whose rates are asked for while the one before it is in Postgres."""
        self._lane: list[Pending] = []
        self._lane_accounts: set[UUID] = set()
        self._beside: set[asyncio.Task[None]] = set()

    def submit(self, request: AdmissionRequest, caller: Caller, *, waits: bool) -> asyncio.Future[Admitted]:
        """Put a request in line. The future ends with a verdict or RefusedError. Raises RefusedError when full.

        One that cannot pass, of which it is known whether it is a matter of money, is answered at once.
        """
        pending = Pending(request, caller, self._clock(), self._loop.create_future(), waits=waits)
        if (allowance := self._limiter.refused(caller)) is not None:
            verdict = self._over_rate.remembered(_over(request, allowance))
            if verdict is not None:
                pending.allowance = allowance
                pending.answer(verdict)
                return pending.future
        self._line.add(pending)
        if self._admitting and self._ahead is None and self._line.fills_a_batch:
            batch = self._take()
            self._ahead = batch, asyncio.create_task(self._ask_rates(batch))
        return pending.future

    async def run_once(self) -> int:
        """Wait for requests, admit one batch, and return how many were in it."""
        if self._ahead is None:
            await self._line.arrived.wait()
            # A batch that is full already gains nothing by waiting.
            if self._clock() < self._busy_until and not self._line.fills_a_batch:
                await asyncio.sleep(WINDOW_S)
        batch, asked = self._ahead or (self._take(), None)
        self._ahead = None
        together = 0
        try:
            await (self._ask_rates(batch) if asked is None else asked)
            self._admitting = True
            together = await self._admit(batch)
        except Exception:
            _logger.exception("a batch of %s requests failed", len(batch))
            for pending in batch:
                pending.refuse(_INTERNAL)
        finally:
            self._admitting = False
        # Requests come together: it is worth waiting for more of them. Who is refused for his rate makes nobody wait.
        if together > 1:
            self._busy_until = self._clock() + 2 * WINDOW_S
        return len(batch)

    async def close(self) -> None:
        """Admit what is still in line, and wait for everything under way; after the loop has stopped."""
        while self._line or self._ahead:
            await self.run_once()
        while self._beside:
            await asyncio.gather(*self._beside, return_exceptions=True)

    def _take(self) -> list[Pending]:
        batch = self._line.take()
        self._metrics.batch_size.observe(len(batch))
        return batch

    async def _ask_rates(self, batch: list[Pending]) -> None:
        """Take the requests from their callers' rates, those that are still to be admitted."""
        asked = self._fresh(batch)
        if self.terms is None:
            return
        allowances, answers = await self._limiter.take([pending.caller for pending in asked], self._wire.questions())
        self._wire.learn(answers)
        for pending, allowance in zip(asked, allowances, strict=True):
            pending.allowance = allowance

    async def _admit(self, batch: list[Pending]) -> int:
        """Answer a batch, and return how many of it a transaction was for."""
        terms = self.terms
        if terms is None:
            self._refuse_all(batch, _NO_PRICES)
            return 0
        if full_pools := self._wire.full_pools:
            terms = msgspec.structs.replace(terms, full_pools=full_pools)
        over: list[Pending] = []
        ready: list[Pending] = []
        for pending in self._fresh(batch):
            if pending.allowance is None:
                pending.refuse(_NO_PRICES)  # there were none yet when rates were asked
            elif pending.allowance.retry_after_s is not None:
                over.append(pending)
            elif pending.request.account_id in self._lane_accounts:
                self._lane.append(pending)
            else:
                ready.append(pending)
        if over:
            self._start(self._refuse_over_rate(over, terms))
        if ready:
            self._to_lane(await self._reserve(ready, terms))
        return len(ready)

    def _fresh(self, batch: Sequence[Pending]) -> list[Pending]:
        """Drop whoever has waited too long, before a transaction is entered for them."""
        oldest = self._clock() - WAIT_S_MAX
        for pending in batch:
            if pending.arrived < oldest:
                pending.refuse(_STALE)
        return [pending for pending in batch if pending.arrived >= oldest]

    async def _reserve(self, batch: Sequence[Pending], terms: Terms) -> list[Pending]:
        """Admit `batch` in one transaction, and return those whose account somebody else holds."""
        skip_locked = False
        attempt = 0
        while True:
            waiters: dict[UUID, Waiter] = {}
            verdicts: list[Verdict | NotLocked] = []
            undone = True
            try:
                async with brief_transaction(self._pool) as connection:
                    verdicts = await self._reserve_on(connection, batch, terms, skip_locked=skip_locked)
                    waiters = self._register(batch, verdicts)
            except (LockTimeoutError, SerializationError) as error:
                # Held accounts are left out from now on; any other lock, or a deadlock, is tried again a few times.
                attempt += skip_locked or isinstance(error, SerializationError)
                skip_locked = skip_locked or isinstance(error, LockTimeoutError)
                if attempt < ATTEMPTS_MAX:
                    continue
                self._refuse_all(batch, _NO_DATABASE)
            except BadRowError as error:
                return await self._halve(batch, terms, error)
            except CommitInDoubtError:
                undone = False
                await self._resolve_doubt(batch, verdicts, waiters)
            except StoreError as error:
                _logger.warning("Postgres: %s", error)
                self._refuse_all(batch, _NO_DATABASE)
            else:
                undone = False
                return self._answer(batch, verdicts, waiters)
            finally:
                if undone:
                    self._forget(waiters)
            return []

    async def _reserve_on(
        self, connection: Connection, batch: Sequence[Pending], terms: Terms, *, skip_locked: bool
    ) -> list[Verdict | NotLocked]:
        entropy = os.urandom(ENTROPY_BYTES * sum(pending.casts for pending in batch))
        requests = [pending.request for pending in batch]
        return await reserve(connection, requests, terms, entropy=entropy, skip_locked=skip_locked)

    async def _halve(self, batch: Sequence[Pending], terms: Terms, error: BadRowError) -> list[Pending]:
        """Look for the culprit in each half; alone, it is refused and its neighbours are not."""
        if len(batch) == 1:
            _logger.error("a request cannot be stored: %s", error)
            batch[0].refuse(_CANNOT_STORE)
            return []
        middle = len(batch) // 2
        return [*await self._reserve(batch[:middle], terms), *await self._reserve(batch[middle:], terms)]

    def _register(self, batch: Sequence[Pending], verdicts: Sequence[Verdict | NotLocked]) -> dict[UUID, Waiter]:
        """Register waiters before the COMMIT: after it a result may come at any moment."""
        waiting: dict[UUID, Waiter] = {}
        for pending, verdict in zip(batch, verdicts, strict=True):
            if pending.waits and isinstance(verdict, Judged) and isinstance(verdict.results[0], Accepted):
                cast_id = verdict.results[0].cast_id
                waiting[cast_id] = self._waiting.register(cast_id)
        return waiting

    def _answer(
        self, batch: Sequence[Pending], verdicts: Sequence[Verdict | NotLocked], waiters: dict[UUID, Waiter]
    ) -> list[Pending]:
        """Answer what is committed, put it in line for the wire, and return the requests that were not judged."""
        accepted_count = 0
        not_locked: list[Pending] = []
        for pending, verdict in zip(batch, verdicts, strict=True):
            if isinstance(verdict, NotLocked):
                not_locked.append(pending)
                continue
            waiter = None
            if isinstance(verdict, Judged):
                for result in verdict.results:
                    if isinstance(result, Accepted):
                        accepted_count += 1
                        if result.on_wire:
                            self._wire.add(result)
                        waiter = waiters.get(result.cast_id)
            pending.answer(verdict, waiter)
        self._metrics.casts.inc(accepted_count)
        return not_locked

    def _refuse_all(self, batch: Sequence[Pending], refusal: Refusal) -> None:
        for pending in batch:
            pending.refuse(refusal)

    async def _resolve_doubt(
        self, batch: Sequence[Pending], verdicts: Sequence[Verdict | NotLocked], waiters: dict[UUID, Waiter]
    ) -> None:
        """Find out whether a COMMIT whose connection broke happened, and answer accordingly."""
        minted = {pending: _minted(verdict) for pending, verdict in zip(batch, verdicts, strict=True)}
        committed = await self._were_committed(batch, [cast_id for ids in minted.values() for cast_id in ids])
        if committed:
            self._to_lane(self._answer(batch, verdicts, waiters))
            return
        self._forget(waiters)
        for pending, ids in minted.items():
            if committed is None and ids:
                detail = "Whether the casts were accepted is not known yet. Ask for them by id."
                refusal = Refusal(code=Code.OUTCOME_UNKNOWN, detail=detail, cast_ids=ids, retry_after_s=5)
            else:
                refusal = _NO_DATABASE
            pending.refuse(refusal)

    def _forget(self, waiters: dict[UUID, Waiter]) -> None:
        for waiter in waiters.values():
            self._waiting.forget(waiter)

    async def _were_committed(self, batch: Sequence[Pending], ids: list[UUID]) -> bool | None:
        """Return whether the casts exist, certain because the batch's locks are taken first; None after IN_DOUBT_S."""
        if not ids:
            return False
        accounts = sorted({pending.request.account_id for pending in batch})
        give_up_at = self._clock() + IN_DOUBT_S
        while self._clock() < give_up_at:
            try:
                async with transaction(self._pool) as connection:
                    found = await casts_exist(connection, account_ids=accounts, ids=ids)
            except StoreError:
                await asyncio.sleep(IN_DOUBT_PAUSE_S)
            else:
                assert len(found) in {0, len(ids)}, "a transaction is committed as a whole"
                return bool(found)
        return None

    async def _refuse_over_rate(self, over: list[Pending], terms: Terms) -> None:
        requests = [_over(pending.request, pending.allowance) for pending in over if pending.allowance is not None]
        try:
            verdicts = await self._over_rate.judge(requests, terms)
        except Exception:
            _logger.exception("judging %s requests over their rate failed", len(over))
            self._refuse_all(over, _INTERNAL)
            return
        for pending, verdict in zip(over, verdicts, strict=True):
            pending.answer(verdict)

    def _to_lane(self, held: Sequence[Pending]) -> None:
        """Let requests whose account is held elsewhere wait on a connection of their own."""
        if not held:
            return
        self._lane.extend(held)
        self._lane_accounts.update(pending.request.account_id for pending in held)
        if not any(task.get_name() == "lane" for task in self._beside):
            self._start(self._run_lane(), name="lane")

    async def _run_lane(self) -> None:
        while self._lane:
            await asyncio.sleep(LANE_PAUSE_S)
            batch, self._lane = self._fresh(self._lane[:BATCH_REQUESTS_MAX]), self._lane[BATCH_REQUESTS_MAX:]
            if batch and self.terms is not None:
                try:
                    self._lane += await self._reserve(batch, self.terms)
                except Exception:
                    _logger.exception("a batch of %s requests beside the line failed", len(batch))
                    self._refuse_all(batch, _INTERNAL)
            self._lane_accounts = {pending.request.account_id for pending in self._lane}

    def _start(self, work: Coroutine[None, None, None], *, name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self._beside.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("beside the batches: %r", error, exc_info=error)


def _over(request: AdmissionRequest, allowance: Allowance) -> AdmissionRequest:
    return msgspec.structs.replace(request, retry_after_s=allowance.retry_after_s)


def _minted(verdict: Verdict | NotLocked) -> tuple[UUID, ...]:
    if not isinstance(verdict, Judged):
        return ()
    return tuple(result.cast_id for result in verdict.results if isinstance(result, Accepted))
