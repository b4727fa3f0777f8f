"""What a cast may cost and what it did cost, in whole micros (10^-6 USD). No float touches money."""

import enum
from typing import Final

import msgspec

from domain.model.creator_price import NO_PRICE, CreatorPrice
from domain.model.messages import Outcome

GFUEL: Final = 1_000_000_000
MICROS_PER_CENT: Final = 10_000

# Casts whose result the caller got, good or bad by its own code: everything is due.
_PAY_ALL: Final = frozenset({Outcome.SUCCEEDED, Outcome.EXIT_NONZERO})
# The spell broke or a bound stopped it: the platform's work is due, the creator earns nothing.
_PAY_PLATFORM: Final = frozenset(
    {
        Outcome.TRAP,
        Outcome.FUEL_EXHAUSTED,
        Outcome.MEMORY_EXCEEDED,
        Outcome.OUTPUT_TOO_LARGE,
        Outcome.WALL_TIME_EXCEEDED,
        Outcome.CANCELED,
    }
)


class Due(enum.StrEnum):
    """What an ending pays for, as receipts say it."""

    EVERYTHING = "everything"
    """The caller got a result of the spell's own: fee, fuel and the creator's price."""
    PLATFORM = "platform"
    """The spell broke or a bound stopped it: fee and fuel; the creator gets nothing."""
    NOTHING = "nothing"
    """It is the platform's fault, or nothing ran: all of the hold was released."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the price book. Never edited: a cast is settled by the version it was accepted under."""

    version: int
    per_cast_micros: int
    per_gfuel_micros: int
    platform_share_percent: int


class Charge(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one cast costs and who gets it; `cost_micros` is the sum of the other two."""

    cost_micros: int
    platform_micros: int
    creator_micros: int


NOTHING: Final = Charge(cost_micros=0, platform_micros=0, creator_micros=0)


def fuel_micros(price: Price, fuel: int) -> int:
    """Return the price of `fuel`, rounded up to a micro."""
    return -(-fuel * price.per_gfuel_micros // GFUEL)


def hold_micros(price: Price, creator: CreatorPrice = NO_PRICE, *, fuel_limit: int, output_bytes_limit: int = 0) -> int:
    """Return the most a cast under these bounds can cost: what is held before it runs."""
    platform = price.per_cast_micros + fuel_micros(price, fuel_limit)
    return platform if creator is NO_PRICE else platform + creator.most_micros(output_bytes_limit)


def charge(
    price: Price,
    creator: CreatorPrice = NO_PRICE,
    *,
    held_micros: int,
    outcome: Outcome,
    fuel: int | None,
    started: bool,
    output_bytes: int = 0,
    units: int = 0,
) -> Charge:
    """Return what an ended cast costs: never more than its hold.

    `fuel` is None when the executor's child was killed and nobody knows: then only the fee is due.
    `started` tells a cast canceled while running (fee and fuel) from one canceled before (nothing).
    """
    if outcome not in _PAY_ALL and outcome not in _PAY_PLATFORM:
        return NOTHING
    if outcome is Outcome.CANCELED and not started:
        return NOTHING
    platform = price.per_cast_micros + fuel_micros(price, fuel or 0)
    creator_micros = 0
    if creator is not NO_PRICE and outcome in _PAY_ALL:
        due = creator.due_micros(output_bytes=output_bytes, units=units)
        share = due * price.platform_share_percent // 100
        platform += share
        creator_micros = due - share
    assert platform + creator_micros <= held_micros, "the ledger parks claims over the limits before it prices them"
    return Charge(cost_micros=platform + creator_micros, platform_micros=platform, creator_micros=creator_micros)


def due_for(outcome: Outcome) -> Due:
    """Return what a cast that ends so pays for."""
    if outcome in _PAY_ALL:
        return Due.EVERYTHING
    return Due.PLATFORM if outcome in _PAY_PLATFORM else Due.NOTHING
