"""Who may cast what: the pure decision over one batch of requests and the state read under the account locks.

`decide` judges request by request in order of arrival, each against what the ones before it took. Order of refusal:
account and key, then money (402), then price (409), then rate and open casts (429), then the queue (503). A quote that
has expired (409) comes before budgets: without its terms there is no price to hold against them.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from domain.model import pricing
from domain.model.admission_refusals import (
    budget_exceeded,
    price_above,
    quote_expired,
    refuse_funding,
    refuse_identity,
    too_many_open,
)
from domain.model.admission_state import (
    AccountState,
    AdmissionState,
    KeyState,
    MonthState,
    Terms,
    WindowState,
)
from domain.model.creator_price import NO_PRICE, CreatorPrice, PriceChange
from domain.model.errors import Code, Refusal, Standing
from domain.model.funding import Funding, Grant, GrantPart, take_from_grants
from domain.model.ids import ENTROPY_BYTES, cast_id
from domain.model.limits import DEADLINE_MS_MAX, CastLimits
from domain.model.messages import Pool
from domain.model.modes import Mode, refuse_test_cast
from domain.model.periods import Period, resets_at
from domain.model.places import NO_CAST, placed
from domain.model.quote import QuotedTerms
from domain.model.tightest import room_of, standing_of, tightest_of

# A share of the wire that keeps every worker slot of a small deployment busy while one account fills it,
# and is small enough that the next account's first cast waits for a fraction of a second.
ON_WIRE_PER_ACCOUNT_MAX: Final = 256
# The free allowance is for trying things; more fuel than the default is for paying accounts.
FREE_FUEL_MAX: Final = 1_000_000_000


class CastSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One cast somebody asks for, its spell version and bounds already resolved."""

    spell_id: UUID
    version_id: UUID
    creator_id: UUID
    price: PriceChange | None = None
    """The newest price its creator named, as the edge knew it; what is read with the state decides. None: never one."""
    digest: bytes
    pool: Pool
    limits: CastLimits
    input: bytes
    deadline_ms: int
    """Milliseconds from acceptance."""
    max_price_micros: int | None = None
    quote: QuotedTerms | None = None
    """Terms that were promised before: while they are good they decide, whatever the prices are now."""
    metadata: str = "{}"
    """A JSON object as text, checked at the edge."""
    traceparent: str | None = None
    webhook_url: str | None = None
    """Is told when the cast has ended; checked at the edge, and again by the courier."""


class AdmissionRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP request: a cast, or a batch that is judged cast by cast and stored as one."""

    account_id: UUID
    key_id: UUID | None
    casts: tuple[CastSpec, ...]
    key_prefix: str | None = None
    """Of the very secret it was made with, where the key may have two; one that was rotated away is refused."""
    session_id: UUID | None = None
    """Set when a session asks; it must be alive still under the lock."""
    idempotency_key: str | None = None
    request_hash: bytes = b""
    """SHA-256 of method, path and body, needed with an idempotency key."""
    places: tuple[int, ...] = ()
    sent_count: int = 0
    """Where each cast stood among all that were sent, some refused before they came here; empty: these are all."""
    retry_after_s: int | None = None
    """Set when the caller is over its rate: nothing will be accepted, and the answer is 402 or 429."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A cast that is now held for, and exactly what its hold consists of."""

    cast_id: UUID
    request: AdmissionRequest
    spec: CastSpec
    accepted_ms: int
    price_version: int
    creator_price: CreatorPrice
    held_micros: int
    funding: Funding
    window_ids: tuple[UUID, ...]
    grants: tuple[GrantPart, ...]
    on_wire: bool
    budget: Standing | None
    """The tightest hard budget that applies, after this hold."""
    open_casts: int
    open_casts_max: int
    """Of the key where it has its own bound, else of the account."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """The request was accepted before, under the same idempotency key, as these casts in order, or NO_CAST."""

    cast_ids: tuple[UUID, ...]


class Judged(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One verdict for each cast of the request, in order."""

    results: tuple[Accepted | Refusal, ...]

    def remembered(self, request: AdmissionRequest) -> tuple[UUID, ...]:
        """Return the cast of each place of what was sent, NO_CAST where it was refused; empty when all were."""
        ids = [result.cast_id if isinstance(result, Accepted) else NO_CAST for result in self.results]
        return placed(ids, request.places, request.sent_count) if any(one != NO_CAST for one in ids) else ()


Verdict = Replayed | Refusal | Judged
# What was accepted before under an account's idempotency key: the request's hash, and its casts.
_Remembered = dict[tuple[UUID, str], tuple[bytes, tuple[UUID, ...]]]


def decide(requests: Sequence[AdmissionRequest], state: AdmissionState, terms: Terms, entropy: bytes) -> list[Verdict]:
    """Judge `requests` in order; `entropy` holds ENTROPY_BYTES random bytes for each cast.

    `state` is consumed: its totals are raised as casts are accepted, so it must not be used again.
    """
    batch = _Batch(state, terms, entropy)
    return [batch.judge(request) for request in requests]


class _Batch:
    """The working copy of one decision."""

    def __init__(self, state: AdmissionState, terms: Terms, entropy: bytes) -> None:
        self._terms = terms
        self._entropy = entropy
        self._sequence = 0
        self._now = state.now
        self._now_ms = state.now_us // 1000
        self._resets_at = {period: resets_at(period, self._now) for period in Period}
        self._accounts = {account.id.int: _Purse(account) for account in state.accounts}
        self._keys = {key.id.int: key for key in state.keys}
        self._prices = {change.version_id: change for change in state.prices}
        self._sessions = frozenset(state.sessions)
        # Nearly always empty, and then asking costs a request nothing.
        self._test_keys = frozenset(key.id for key in state.keys if key.is_test)
        self._remembered: _Remembered = {}
        self._remembered_tests: _Remembered = {}
        for row in state.idempotency:
            remembered = self._remembered if row.mode is Mode.LIVE else self._remembered_tests
            remembered[row.account_id, row.key] = (row.request_hash, row.cast_ids)
        # What belongs to an account that was not read with it is nobody's here.
        for month in state.months:
            if (purse := self._accounts.get(month.account_id.int)) is not None:
                purse.month = month
        for window in sorted(state.windows, key=lambda window: window.id.int):
            if (purse := self._accounts.get(window.account_id.int)) is not None:
                purse.add_window(window)
        for grant in sorted(state.grants, key=Grant.order):
            if (purse := self._accounts.get(grant.account_id.int)) is not None:
                purse.grants.append(grant)

    def judge(self, request: AdmissionRequest) -> Verdict:
        purse = self._accounts.get(request.account_id.int)
        account = None if purse is None else purse.account
        key = self._keys.get(request.key_id.int) if request.key_id else None
        if request.session_id is not None and request.session_id not in self._sessions:
            return Refusal(code=Code.UNAUTHORIZED, detail="This session has ended or expired. Sign in again.")
        if (refusal := refuse_identity(request.key_id, request.key_prefix, account, key)) is not None:
            return refusal
        assert purse is not None
        judge_cast, remembered = self._judge_cast, self._remembered
        if self._test_keys and request.key_id in self._test_keys:
            judge_cast, remembered = self._judge_test_cast, self._remembered_tests
        if request.idempotency_key is not None:
            before = remembered.get((request.account_id, request.idempotency_key))
            if before is not None:
                return _replay(request, *before)
        judged = Judged(results=tuple([judge_cast(request, spec, purse, key) for spec in request.casts]))
        if request.idempotency_key is not None and (cast_ids := judged.remembered(request)):
            remembered[request.account_id, request.idempotency_key] = (request.request_hash, cast_ids)
        return judged

    def _judge_test_cast(
        self, request: AdmissionRequest, spec: CastSpec, purse: "_Purse", key: KeyState | None
    ) -> Accepted | Refusal:
        account, month = purse.account, purse.month
        price, creator = self._prices_of(account, spec)
        fuel = spec.limits.fuel
        refusal = refuse_test_cast(is_priced=creator is not NO_PRICE, fuel_limit=fuel, test_casts=month.test_casts)
        if refusal is not None or (refusal := self._refuse_load(request, spec, account, key)) is not None:
            return refusal
        month.test_casts += 1
        funded, terms = (Funding.TEST, ()), (price, NO_PRICE)
        return self._accept(request, spec, purse, key, needed=0, windows=[], funded=funded, terms=terms)

    def _judge_cast(
        self, request: AdmissionRequest, spec: CastSpec, purse: "_Purse", key: KeyState | None
    ) -> Accepted | Refusal:
        account = purse.account
        if account.spend_paused or spec.quote is not None:
            refusal = self._refuse_at_once(spec, account)
            if refusal is not None:
                return refusal
        price, creator = self._prices_of(account, spec)
        limits = spec.limits
        needed = pricing.hold_micros(price, creator, fuel_limit=limits.fuel, output_bytes_limit=limits.output_bytes)
        windows = [window for window in purse.windows if _applies(window, request, spec)]
        tightest = tightest_of(windows)
        if tightest is not None and room_of(tightest) < needed:
            return budget_exceeded(self._standing(tightest, needed))
        funded = self._fund(purse, spec, creator, needed)
        if isinstance(funded, Refusal):
            return funded
        if spec.max_price_micros is not None and needed > spec.max_price_micros:
            return price_above(needed, spec.max_price_micros)
        if (refusal := self._refuse_load(request, spec, account, key)) is not None:
            return refusal
        terms = (price, creator)
        return self._accept(request, spec, purse, key, needed=needed, windows=windows, funded=funded, terms=terms)

    def _refuse_at_once(self, spec: CastSpec, account: AccountState) -> Refusal | None:
        """Return what can be said before there is a price."""
        if account.spend_paused:
            return Refusal(code=Code.SPEND_PAUSED, detail="Spending is paused for this account. Resume it to cast.")
        return quote_expired() if spec.quote is not None and self._now_ms >= spec.quote.expires_ms else None

    def _prices_of(self, account: AccountState, spec: CastSpec) -> tuple[pricing.Price, CreatorPrice]:
        """Return what the platform and the creator ask of this caller: nothing more for casting one's own spell."""
        quote = spec.quote
        if quote is not None:
            price, creator = quote.price, quote.creator_price
        elif spec.price is not None:
            price = account.price or self._terms.price
            creator = self._prices.get(spec.version_id, spec.price).at(self._now_ms)
        else:
            return account.price or self._terms.price, NO_PRICE
        asks = spec.creator_id != account.id and creator.raises(NO_PRICE)
        return price, creator if asks else NO_PRICE

    def _standing(self, window: WindowState, needed: int) -> Standing:
        return standing_of(window, needed_micros=needed, resets_at=self._resets_at[window.period])

    def _fund(
        self, purse: "_Purse", spec: CastSpec, creator: CreatorPrice, needed: int
    ) -> tuple[Funding, tuple[GrantPart, ...]] | Refusal:
        """Return the first funding that covers the whole hold: free allowance, credits, the bill or nobody's."""
        if needed == 0:
            return Funding.METERED, ()
        account, month = purse.account, purse.month
        free_left = self._terms.free_casts_per_month - month.free_used - month.free_held
        if free_left > 0 and creator is NO_PRICE and spec.limits.fuel <= FREE_FUEL_MAX:
            return Funding.FREE, ()
        parts = take_from_grants(purse.grants, needed, self._now)
        if parts is not None:
            return Funding.CREDITS, parts
        if not account.metered:
            return refuse_funding(account)
        limit = self._terms.metered_limit_default_micros
        if not purse.has_own_budget and month.spent_micros + month.held_micros + needed > limit:
            return budget_exceeded(
                Standing(
                    limit_id=None,
                    scope="account",
                    scope_id=account.id,
                    period=Period.MONTHLY,
                    limit_micros=limit,
                    spent_micros=month.spent_micros,
                    held_micros=month.held_micros,
                    needed_micros=needed,
                    resets_at=self._resets_at[Period.MONTHLY],
                )
            )
        return (Funding.UNBILLED if account.unbilled else Funding.METERED), ()

    def _refuse_load(
        self, request: AdmissionRequest, spec: CastSpec, account: AccountState, key: KeyState | None
    ) -> Refusal | None:
        if request.retry_after_s is not None:
            return Refusal(
                code=Code.RATE_LIMITED,
                detail="This key is over its rate limit.",
                retry_after_s=request.retry_after_s,
            )
        if account.open_casts >= account.open_casts_max:
            return too_many_open("account", account.open_casts_max)
        if key is not None and key.open_casts_max is not None and key.open_casts >= key.open_casts_max:
            return too_many_open("key", key.open_casts_max)
        if spec.pool in self._terms.full_pools:
            return Refusal(
                code=Code.QUEUE_FULL,
                detail=f"The queue of the pool '{spec.pool}' is full. Nothing was held.",
                retry_after_s=1,
            )
        return None

    def _accept(
        self,
        request: AdmissionRequest,
        spec: CastSpec,
        purse: "_Purse",
        key: KeyState | None,
        *,
        needed: int,
        windows: list[WindowState],
        funded: tuple[Funding, tuple[GrantPart, ...]],
        terms: tuple[pricing.Price, CreatorPrice],
    ) -> Accepted:
        funding, parts = funded
        price, creator = terms
        account, month = purse.account, purse.month
        for window in windows:
            window.held_micros += needed
        month.held_micros += needed
        month.free_held += funding is Funding.FREE
        for part in parts:
            grant = next(grant for grant in purse.grants if grant.id == part.grant_id)
            grant.held_micros += part.micros
        account.open_casts += 1
        if key is not None:
            key.open_casts += 1
        limit_of_key = key if key is not None and key.open_casts_max is not None else None
        assert 0 < spec.deadline_ms <= DEADLINE_MS_MAX
        return Accepted(
            cast_id=self._mint(),
            request=request,
            spec=spec,
            accepted_ms=self._now_ms,
            price_version=price.version,
            creator_price=creator,
            held_micros=needed,
            funding=funding,
            window_ids=tuple([window.id for window in windows]),
            grants=parts,
            on_wire=account.take_wire_place(spec.pool, ON_WIRE_PER_ACCOUNT_MAX),
            budget=None if (tightest := tightest_of(windows)) is None else self._standing(tightest, 0),
            open_casts=account.open_casts if limit_of_key is None else limit_of_key.open_casts,
            open_casts_max=account.open_casts_max if limit_of_key is None else limit_of_key.open_casts_max or 0,
        )

    def _mint(self) -> UUID:
        start = self._sequence * ENTROPY_BYTES
        minted = cast_id(self._now_ms, sequence=self._sequence, entropy=self._entropy[start : start + ENTROPY_BYTES])
        self._sequence += 1
        return minted


class _Purse:
    """An account and all that its casts are held against; found once for a request, by its number, not by its UUID."""

    __slots__ = ("account", "grants", "has_own_budget", "month", "windows")

    def __init__(self, account: AccountState) -> None:
        self.account = account
        self.month = MonthState(account_id=account.id)
        self.windows: list[WindowState] = []
        self.grants: list[Grant] = []
        self.has_own_budget = False

    def add_window(self, window: WindowState) -> None:
        self.windows.append(window)
        if window.scope == "account" and window.hard_limit_micros is not None:
            self.has_own_budget = True


def _replay(request: AdmissionRequest, request_hash: bytes, cast_ids: tuple[UUID, ...]) -> Replayed | Refusal:
    if request_hash != request.request_hash:
        return Refusal(
            code=Code.IDEMPOTENCY_KEY_REUSED,
            detail="This Idempotency-Key was used with another request. Use a new key for a new request.",
        )
    return Replayed(cast_ids=cast_ids)


def _applies(window: WindowState, request: AdmissionRequest, spec: CastSpec) -> bool:
    if window.scope == "account":
        return True
    return window.scope_id == (request.key_id if window.scope == "key" else spec.spell_id)
