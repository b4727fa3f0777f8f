"""Amounts as people type them: dollars and limits."""

from decimal import Decimal, InvalidOperation
from typing import Final

import click

from spell.models.casts import Limits

MICROS_PER_DOLLAR: Final = 1_000_000
CENTS_PER_DOLLAR: Final = 100
# A million dollars: above it a digit slipped in.
_DOLLARS_MAX: Final = 1_000_000
_UNITS: Final = {"kib": 1024, "mib": 1024**2, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
LIMIT_NAMES: Final = Limits.__struct_fields__


class Dollars(click.ParamType[int]):
    """An amount of dollars (`5`, `0.0025`, `$1.20`) as whole parts of it: `parts` to the dollar."""

    name = "dollars"

    def __init__(self, parts: int) -> None:
        self.parts = parts

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of parts; a usage error for what is none, or finer than one."""
        if isinstance(value, int):
            return value
        text = str(value).strip().removeprefix("$")
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal(-1)
        if not amount.is_finite() or not 0 <= amount <= _DOLLARS_MAX:
            self.fail(f"{text!r} is no amount of dollars; write it like 5 or 0.25", param, ctx)
        scaled = amount * self.parts
        if scaled != int(scaled):
            self.fail(f"{text!r} is finer than 1/{self.parts:,} of a dollar; round it", param, ctx)
        return int(scaled)


class LimitOption(click.ParamType[tuple[str, int]]):
    """`NAME=NUMBER` of a cast's limits; a number may end in K, M, G, T (fuel) or KiB, MiB (bytes)."""

    name = "name=number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return the limit's name and its number; a usage error that names those there are."""
        name, separator, text = str(value).partition("=")
        if not separator or name not in LIMIT_NAMES:
            self.fail(f"{name!r} is no limit; write NAME=NUMBER, NAME one of {', '.join(LIMIT_NAMES)}", param, ctx)
        lower = text.strip().lower().replace("_", "").replace(",", "")
        unit = next((unit for unit in _UNITS if lower.endswith(unit)), "")
        digits = lower.removesuffix(unit)
        if not (digits.isascii() and digits.isdigit()):
            self.fail(f"{text!r} is no number for {name}; write it like 1000000, 10M or 64MiB", param, ctx)
        return name, int(digits) * _UNITS.get(unit, 1)


DOLLARS_TO_MICROS: Final = Dollars(MICROS_PER_DOLLAR)
DOLLARS_TO_CENTS: Final = Dollars(CENTS_PER_DOLLAR)


def limits_of(given: tuple[tuple[str, int], ...]) -> Limits | None:
    """Return the limits that were given, None when there were none; of two equal names the last counts."""
    return Limits(**dict(given)) if given else None
