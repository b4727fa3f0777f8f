"""Hold the money before the work: lock the accounts, read, decide, write. The edge commits."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from domain.model.admission import (
    Accepted,
    AdmissionRequest,
    Judged,
    Verdict,
    decide,
)
from domain.model.admission_state import AdmissionState, Terms, WindowState
from domain.model.funding import Funding
from domain.model.ids import ENTROPY_BYTES
from domain.model.messages import Pool
from domain.model.modes import mode_of_funding
from domain.model.periods import month_of_ms
from domain.store import admission as store
from domain.store.connection import Connection


class NotLocked:
    """Somebody else holds the account of this request: nothing was decided; try it on its own connection."""


NOT_LOCKED: Final = NotLocked()


async def reserve(
    connection: Connection,
    requests: Sequence[AdmissionRequest],
    terms: Terms,
    *,
    entropy: bytes,
    skip_locked: bool = False,
) -> list[Verdict | NotLocked]:
    """Judge the requests of one batch and write the holds of those accepted, in the caller's transaction.

    Returns a verdict for each request, in order. Nothing counts before the caller's COMMIT; cast ids are minted here,
    so after a commit in doubt they can be looked up. `entropy` is ENTROPY_BYTES random bytes for each cast.
    Raises LockTimeoutError (try again with `skip_locked`), SerializationError, BadRowError (halve the batch).
    """
    assert len(entropy) >= ENTROPY_BYTES * sum(len(request.casts) for request in requests)
    locked, state = await store.lock_and_read(
        connection,
        account_ids=_in_order([request.account_id for request in requests]),
        key_ids=_key_ids(requests),
        session_ids=_session_ids(requests),
        version_ids=_in_order([spec.version_id for r in requests for spec in r.casts if spec.price is not None]),
        idempotency=[(r.account_id, r.idempotency_key) for r in requests if r.idempotency_key is not None],
        billing_enabled=terms.billing_enabled,
        skip_locked=skip_locked,
    )
    mine = [request for request in requests if not skip_locked or request.account_id in locked]
    verdicts = decide(mine, state, terms, entropy)
    accepted = _accepted(verdicts)
    if accepted:
        await store.write(connection, _holds(accepted, state, verdicts))
    if len(mine) == len(requests):
        return list(verdicts)
    decided = iter(verdicts)
    return [next(decided) if request.account_id in locked else NOT_LOCKED for request in requests]


async def judge(connection: Connection, requests: Sequence[AdmissionRequest], terms: Terms) -> list[Verdict]:
    """Judge requests that are over their rate without a lock, to tell a 402 from a 429. Accepts nothing."""
    assert all(request.retry_after_s is not None for request in requests), "only what is refused anyway"
    state: AdmissionState = await store.read(
        connection,
        account_ids=_in_order([request.account_id for request in requests]),
        key_ids=_key_ids(requests),
        session_ids=_session_ids(requests),
        billing_enabled=terms.billing_enabled,
    )
    return decide(requests, state, terms, b"")


def _key_ids(requests: Sequence[AdmissionRequest]) -> list[UUID]:
    return _in_order([request.key_id for request in requests if request.key_id is not None])


def _in_order(ids: Sequence[UUID]) -> list[UUID]:
    """Return each id once, in Postgres' order; by their numbers, for UUIDs are hashed and compared in Python."""
    by_number = {one.int: one for one in ids}
    return [by_number[number] for number in sorted(by_number)]


def _session_ids(requests: Sequence[AdmissionRequest]) -> list[UUID]:
    return _in_order([request.session_id for request in requests if request.session_id is not None])


def _accepted(verdicts: Sequence[Verdict]) -> list[Accepted]:
    judged = [verdict.results for verdict in verdicts if isinstance(verdict, Judged)]
    return [result for results in judged for result in results if isinstance(result, Accepted)]


class _AccountHeld:
    """What one account's casts of a batch add up to."""

    __slots__ = ("casts", "free", "id", "micros", "on_wire_default", "on_wire_large", "test")

    def __init__(self, account_id: UUID) -> None:
        self.id = account_id
        self.micros = self.free = self.test = self.casts = self.on_wire_default = self.on_wire_large = 0

    def add(self, cast: Accepted) -> None:
        self.casts += 1
        self.micros += cast.held_micros
        self.free += cast.funding is Funding.FREE
        self.test += cast.funding is Funding.TEST
        if cast.spec.pool is Pool.LARGE:
            self.on_wire_large += cast.on_wire
        else:
            self.on_wire_default += cast.on_wire


def _holds(accepted: list[Accepted], state: AdmissionState, verdicts: Sequence[Verdict]) -> store.Holds:
    # By the numbers of the ids: a UUID is hashed and compared in Python, which for all of these was a tenth of a batch.
    window_of = {window.id.int: window for window in state.windows}
    begun = {known.account_id.int for known in state.months}
    window_micros: dict[int, int] = {}
    grant_micros: dict[int, store.MicrosRow] = {}
    accounts: dict[int, _AccountHeld] = {}
    keys: dict[int, store.KeyRow] = {}
    for cast in accepted:
        account_id, key_id = cast.request.account_id, cast.request.key_id
        for window_id in cast.window_ids:
            window_micros[window_id.int] = window_micros.get(window_id.int, 0) + cast.held_micros
        for part in cast.grants:
            before = grant_micros.get(part.grant_id.int)
            micros = part.micros if before is None else before.micros + part.micros
            grant_micros[part.grant_id.int] = store.MicrosRow(id=part.grant_id, micros=micros)
        held = accounts.get(account_id.int)
        if held is None:
            held = accounts[account_id.int] = _AccountHeld(account_id)
        held.add(cast)
        if key_id is not None:
            opened = keys.get(key_id.int)
            keys[key_id.int] = store.KeyRow(id=key_id, casts=1 if opened is None else opened.casts + 1)
    month = month_of_ms(accepted[0].accepted_ms)
    return store.Holds(
        new_windows=[_window_row(window_of[number]) for number in window_micros if not window_of[number].exists],
        new_months=[
            store.NewMonthRow(account_id=held.id, month=month)
            for number, held in accounts.items()
            if number not in begun
        ],
        windows=[store.MicrosRow(id=window_of[number].id, micros=micros) for number, micros in window_micros.items()],
        months=[
            store.MonthRow(account_id=held.id, month=month, micros=held.micros, free=held.free, test=held.test)
            for held in accounts.values()
        ],
        grants=list(grant_micros.values()),
        # Keys are the only rows here that are also written without their account's lock.
        keys=[keys[number] for number in sorted(keys)],
        accounts=[
            store.AccountRow(
                id=held.id,
                casts=held.casts,
                on_wire_default=held.on_wire_default,
                on_wire_large=held.on_wire_large,
            )
            for held in accounts.values()
        ],
        casts=[_cast_row(cast) for cast in accepted],
        terms=[_cast_terms(cast) for cast in accepted],
        inputs=[cast.spec.input for cast in accepted],
        idempotency=_idempotency_rows(verdicts) if any(cast.request.idempotency_key for cast in accepted) else [],
    )


def _window_row(window: WindowState) -> store.WindowRow:
    return store.WindowRow(
        id=window.id,
        account_id=window.account_id,
        budget_id=window.budget_id,
        starts_on=window.starts_on,
        hard_limit_micros=window.hard_limit_micros,
    )


def _cast_row(cast: Accepted) -> store.CastRow:
    return store.CastRow(
        id=cast.cast_id,
        account_id=cast.request.account_id,
        key_id=cast.request.key_id,
        on_wire=cast.on_wire,
        window_ids=cast.window_ids,
        grant_ids=tuple([part.grant_id for part in cast.grants]),
        grant_micros=tuple([part.micros for part in cast.grants]),
        metadata=cast.spec.metadata,
        traceparent=cast.spec.traceparent,
    )


def _cast_terms(cast: Accepted) -> store.CastTerms:
    spec = cast.spec
    return store.CastTerms(
        spell_id=spec.spell_id,
        version_id=spec.version_id,
        pool=spec.pool,
        accepted_ms=cast.accepted_ms,
        deadline_ms=spec.deadline_ms,
        fuel=spec.limits.fuel,
        wall_ms=spec.limits.wall_ms,
        memory_bytes=spec.limits.memory_bytes,
        output_bytes=spec.limits.output_bytes,
        log_bytes=spec.limits.log_bytes,
        price_version=cast.price_version,
        creator_price_micros=cast.creator_price.per_cast_micros,
        creator_rates=cast.creator_price.rates,
        quote_id=None if spec.quote is None else spec.quote.id,
        creator_id=spec.creator_id,
        held_micros=cast.held_micros,
        funding=cast.funding,
        webhook_url=spec.webhook_url,
    )


def _idempotency_rows(verdicts: Sequence[Verdict]) -> list[store.IdempotencyRow]:
    rows: list[store.IdempotencyRow] = []
    for verdict in verdicts:
        first = next(iter(_accepted([verdict])), None)
        if first is None or first.request.idempotency_key is None:
            continue
        assert isinstance(verdict, Judged)
        rows.append(
            store.IdempotencyRow(
                account_id=first.request.account_id,
                mode=mode_of_funding(first.funding),
                key=first.request.idempotency_key,
                request_hash=first.request.request_hash,
                cast_ids=verdict.remembered(first.request),
                accepted_ms=first.accepted_ms,
            )
        )
    return rows
