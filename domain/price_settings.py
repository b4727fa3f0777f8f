"""The operator's prices, in the names of three products, as integers of micros. No float comes near them."""

from decimal import Decimal, InvalidOperation
from typing import Final, Self

import msgspec

from domain.environment import Invalid, Reader

# $1,000,000: a price or limit above it is a typing mistake, and stays far away from 64 bits when multiplied.
MICROS_MAX: Final = 10**12


MICROS_PER_CENT: Final = 10_000
MICROS_PER_DOLLAR: Final = 1_000_000
PER_CAST_MICROS_DEFAULT: Final = 1_000
PER_GFUEL_MICROS_DEFAULT: Final = 1_500
# CPython burns 6.6 x 10^6 fuel per CPU millisecond (measured), so 10^9 fuel are 10^9 / 6.6 x 10^6 milliseconds of it.
FUEL_PER_CPU_MS: Final = 6_600_000
FUEL_PER_GFUEL: Final = 1_000_000_000
# A cent of usage, as AuthorWorks had it.
CREDIT_MICROS_DEFAULT: Final = 10_000


class PriceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's prices; `release` writes them into the price book when they changed."""

    per_cast_micros: int
    per_gfuel_micros: int
    """Per 10^9 fuel."""

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Cents win over micros, and micros over the dollars of Docle's names."""
        docle_run = reader.optional("STRIPE_PRICE_PER_RUN", _micros_of_dollars, PER_CAST_MICROS_DEFAULT)
        docle_fuel = reader.optional("STRIPE_PRICE_PER_CPU_MS", _micros_per_gfuel, PER_GFUEL_MICROS_DEFAULT)
        per_run = reader.whole("PRICE_PER_RUN_MICROS", docle_run, least=0, most=MICROS_MAX)
        cents = reader.whole("COST_PER_CAST_CENTS", -1, least=0, most=MICROS_MAX // MICROS_PER_CENT)
        return cls(
            per_cast_micros=per_run if cents < 0 else cents * MICROS_PER_CENT,
            per_gfuel_micros=reader.whole("PRICE_PER_GFUEL_MICROS", docle_fuel, least=0, most=MICROS_MAX),
        )


def read_credit_micros(reader: Reader) -> int:
    """Return what a credit is worth in casts: the same for the api, the scheduler and the operator's commands."""
    return reader.whole("CREDIT_MICROS", CREDIT_MICROS_DEFAULT, least=1, most=MICROS_MAX)


def _dollars(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= MICROS_MAX // MICROS_PER_DOLLAR:
        message = f"{text!r} is not an amount in dollars; write it like 0.001"
        raise Invalid(message)
    return amount


def _micros_of_dollars(text: str) -> int:
    micros = _dollars(text) * MICROS_PER_DOLLAR
    if micros != int(micros):
        message = f"{text!r} is finer than a micro-dollar; use at most six decimals"
        raise Invalid(message)
    return int(micros)


def _micros_per_gfuel(text: str) -> int:
    """Return the price of 10^9 fuel for one of a CPU millisecond, rounded down to a whole micro.

    $0.00001 are 10 micros a millisecond; 10^9 fuel are 151.51 milliseconds of CPython: 1,515 micros.
    """
    micros_per_ms = _dollars(text) * MICROS_PER_DOLLAR
    return int(micros_per_ms * FUEL_PER_GFUEL // FUEL_PER_CPU_MS)
