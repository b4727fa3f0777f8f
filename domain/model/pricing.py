"""What a cast may cost and what it did cost, in whole micros (10^-6 USD). No float touches money."""

from typing import Final

import msgspec

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


def hold_micros(price: Price, *, creator_price_micros: int, fuel_limit: int) -> int:
    """Return the most a cast under these bounds can cost: what is held before it runs."""
    return price.per_cast_micros + creator_price_micros + fuel_micros(price, fuel_limit)


def charge(
    price: Price, *, creator_price_micros: int, held_micros: int, outcome: Outcome, fuel: int | None, started: bool
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
    creator = 0
    if outcome in _PAY_ALL:
        share = creator_price_micros * price.platform_share_percent // 100
        platform += share
        creator = creator_price_micros - share
    assert platform + creator <= held_micros, "the ledger parks claims over the fuel limit before it prices them"
    return Charge(cost_micros=platform + creator, platform_micros=platform, creator_micros=creator)
