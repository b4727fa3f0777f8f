"""What a creator asks for a cast of one version, and how that may change: a fall at once, a rise after a notice."""

from typing import Final
from uuid import UUID

import msgspec

from domain.model.errors import Code, Fault, refuse
from domain.model.limits import KIB, UNITS_MAX

# Two weeks: long enough that somebody who looks once a week hears of a rise, and can leave before it counts.
PRICE_NOTICE_MS: Final = 14 * 24 * 60 * 60 * 1000
# 1,000 dollars a cast: above it a decimal point was forgotten.
PRICE_MICROS_MAX: Final = 1_000_000_000
# How a module's imports name the function a spell reports its units by.
REPORT_UNITS: Final = "report_units"


class CreatorPrice(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The parts of a price, all due when a cast gives its caller a result; whole micros."""

    per_cast_micros: int = 0
    per_output_kib_micros: int = 0
    """For each KiB of output, a begun one counts as whole."""
    per_unit_micros: int = 0
    """For each unit the spell reports."""
    units_max: int = 0
    """What it may report at most that costs something: with the output limit this bounds what is held."""

    def due_micros(self, *, output_bytes: int, units: int) -> int:
        """Return what a cast that wrote and reported this much costs; units above the most cost nothing."""
        return (
            self.per_cast_micros
            + self.per_output_kib_micros * -(-output_bytes // KIB)
            + self.per_unit_micros * min(units, self.units_max)
        )

    def most_micros(self, output_bytes_limit: int) -> int:
        """Return the most a cast under this output limit can cost."""
        return self.due_micros(output_bytes=output_bytes_limit, units=self.units_max)

    @property
    def rates(self) -> tuple[int, int, int] | None:
        """What stands beside the fixed price: per KiB, per unit, units at most; None where there is nothing of it."""
        found = (self.per_output_kib_micros, self.per_unit_micros, self.units_max)
        return found if found[0] or found[1] else None

    def raises(self, before: "CreatorPrice") -> bool:
        """Tell whether any cast could cost more under this price than under `before`."""
        return (
            self.per_cast_micros > before.per_cast_micros
            or self.per_output_kib_micros > before.per_output_kib_micros
            or self.per_unit_micros > before.per_unit_micros
        )


NO_PRICE: Final = CreatorPrice()


class PriceChange(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a version's prices. The newest row alone tells the price at every instant since it was announced."""

    version_id: UUID
    number: int
    """1 for the price a version was published with, and on from there."""
    announced_ms: int
    effective_ms: int
    """Whole milliseconds, as the instants of casts are: a cast of this very millisecond pays the new price."""
    before: CreatorPrice
    after: CreatorPrice

    def at(self, now_ms: int) -> CreatorPrice:
        """Return the price in force at an instant not before the announcement."""
        return self.after if now_ms >= self.effective_ms else self.before

    def is_ahead(self, now_ms: int) -> bool:
        """Tell whether the change is still to come."""
        return now_ms < self.effective_ms


def announce(latest: PriceChange | None, wanted: CreatorPrice, *, version_id: UUID, now_us: int) -> PriceChange | None:
    """Return the row that asking for `wanted` at `now_us` writes; None when it says nothing new.

    It replaces what was announced before and is not in force yet. What raises no part is in force at once; whatever
    raises one waits whole for the notice, counted from the next full millisecond so that it is never shorter. Asking
    again for what is announced does not begin the notice anew.
    """
    if not wanted.raises(NO_PRICE) if latest is None else wanted == latest.after:
        return None
    now_ms = now_us // 1000
    current = NO_PRICE if latest is None else latest.at(now_ms)
    rises = wanted.raises(current)
    return PriceChange(
        version_id=version_id,
        number=1 if latest is None else latest.number + 1,
        announced_ms=now_ms,
        effective_ms=-(-now_us // 1000) + PRICE_NOTICE_MS if rises else now_ms,
        before=current,
        after=wanted,
    )


def first_price(price: CreatorPrice, *, version_id: UUID, now_ms: int) -> PriceChange | None:
    """Return the row of a version that is published with a price: nobody used it before, so there is no notice."""
    if not price.raises(NO_PRICE):
        return None
    return PriceChange(
        version_id=version_id, number=1, announced_ms=now_ms, effective_ms=now_ms, before=NO_PRICE, after=price
    )


def check_price(price: CreatorPrice, *, output_bytes_max: int, reports_units: bool) -> None:
    """Raise RefusedError (validation) for a price that cannot be: units nobody counts, or more than is ever right."""
    faults: list[Fault] = []
    if price.per_unit_micros and not price.units_max:
        fix = f"Say in the manifest what a unit is and how many at most (1 to {UNITS_MAX}): units: {{name, max}}."
        faults.append(Fault(location="per_unit_micros", message="this version declares no units", fix=fix))
    elif price.per_unit_micros and not reports_units:
        fix = "Import the function `report_units` of the module `spell` and call it with what was done."
        faults.append(Fault(location="per_unit_micros", message="this module never reports units", fix=fix))
    most = price.most_micros(output_bytes_max)
    if most > PRICE_MICROS_MAX:
        message = f"a cast with {output_bytes_max} bytes of output could cost {most} micros for the creator alone"
        fix = f"Lower it, or limits.output_bytes or units.max: at most {PRICE_MICROS_MAX} micros are taken."
        faults.append(Fault(location="price", message=message, fix=fix))
    if faults:
        raise refuse(Code.VALIDATION, f"The price cannot be used: {faults[0].message}.", faults=tuple(faults))
