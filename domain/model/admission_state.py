"""What admission reads under the account locks, decoded straight from one JSON row.

Its rows are arrays in the order of the fields here, and so read by `state_read` of `domain.store.admission`.
"""

from datetime import UTC, date, datetime
from uuid import UUID

import msgspec

from domain.model.api_key import TEST_PREFIX
from domain.model.budgets import window_id
from domain.model.creator_price import PriceChange
from domain.model.funding import Grant
from domain.model.messages import Pool
from domain.model.modes import Mode
from domain.model.periods import Period
from domain.model.pricing import Price


class AccountState(msgspec.Struct, kw_only=True, array_like=True):
    """The account row. Mutable: `decide` works on its own copy."""

    id: UUID
    status: str
    plan: str
    metered: bool
    """Whether casts are accepted that neither the free allowance nor credits cover."""
    spend_paused: bool
    credits_ever: bool
    open_casts: int
    open_casts_max: int
    on_wire_default: int
    on_wire_large: int
    unbilled: bool = False
    """Whether such casts are on nobody's bill: billing is off, for this account or for all, and nothing was agreed."""
    price: Price | None = None
    """What was agreed on with this account; None: the price of the day."""

    def take_wire_place(self, pool: Pool, most: int) -> bool:
        """Take one of the account's `most` places on the wire of a pool; False when all are taken."""
        if pool is Pool.LARGE:
            if self.on_wire_large >= most:
                return False
            self.on_wire_large += 1
            return True
        if self.on_wire_default >= most:
            return False
        self.on_wire_default += 1
        return True


class KeyState(msgspec.Struct, kw_only=True, array_like=True):
    """An API key, alive or not."""

    id: UUID
    alive: bool
    open_casts: int
    open_casts_max: int | None
    prefix: str = ""
    previous_prefix: str | None = None
    """Of the secret before the last rotation, while that is good."""

    def opened_by(self, prefix: str | None) -> bool:
        """Tell whether the secret of this prefix may still be used; None where the caller knows of one secret only."""
        return self.alive and (prefix is None or prefix in {self.prefix, self.previous_prefix})

    @property
    def is_test(self) -> bool:
        """Tell whether its casts move no money."""
        return self.prefix.startswith(TEST_PREFIX)


class WindowState(msgspec.Struct, kw_only=True, array_like=True):
    """A budget and its window of the period that holds the batch's instant; a window not made yet reads as zeros."""

    budget_id: UUID
    account_id: UUID
    scope: str
    scope_id: UUID
    period: Period
    starts_on: date
    exists: bool
    hard_limit_micros: int | None
    spent_micros: int
    held_micros: int
    id: UUID = UUID(int=0)
    """Follows from budget and period; filled when the struct is made."""

    def __post_init__(self) -> None:
        self.id = window_id(self.budget_id, self.starts_on)


class MonthState(msgspec.Struct, kw_only=True, array_like=True):
    """What an account used of the month that holds the batch's instant."""

    account_id: UUID
    spent_micros: int = 0
    held_micros: int = 0
    free_used: int = 0
    free_held: int = 0
    test_casts: int = 0
    """Accepted, however they ended."""


class IdempotencyState(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An accepted request of before."""

    account_id: UUID
    mode: Mode
    key: str
    request_hash: bytes
    cast_ids: tuple[UUID, ...]


class AdmissionState(msgspec.Struct, kw_only=True):
    """All that was read under the locks, at one instant."""

    now_us: int
    """Epoch microseconds by Postgres' clock, read after the locks."""
    accounts: list[AccountState]
    keys: list[KeyState]
    windows: list[WindowState]
    months: list[MonthState]
    grants: list[Grant]
    idempotency: list[IdempotencyState]
    sessions: list[UUID] = msgspec.field(default_factory=list[UUID])
    """The living among those that ask."""
    prices: list[PriceChange] = msgspec.field(default_factory=list[PriceChange])
    """The newest price of each version that is asked for and ever had one."""

    @property
    def now(self) -> datetime:
        """The batch's one instant, to the millisecond: ids, windows, months and price belong to it."""
        return datetime.fromtimestamp(self.now_us // 1000 / 1000, tz=UTC)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for everybody: the price of the day and the platform's own bounds."""

    price: Price
    free_casts_per_month: int
    billing_enabled: bool
    """False while the platform has no Stripe keys: casts of accounts whose billing is `auto` are then unbilled."""
    metered_limit_default_micros: int
    """Applies to metered casts of an account that set no budget for itself."""
    full_pools: frozenset[Pool] = frozenset()
