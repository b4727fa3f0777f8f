"""What creators ask. Money is micros, 10^-6 US dollars."""

from datetime import datetime

import msgspec


class NextPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price that was announced; casts accepted from `effective_at` on are held at it."""

    per_cast_micros: int
    per_output_kib_micros: int
    per_unit_micros: int
    announced_at: datetime
    effective_at: datetime


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What the creator of a version asks for a cast that gives a result, beside the platform's fee and fuel."""

    number: int = 0
    per_cast_micros: int = 0
    per_output_kib_micros: int = 0
    per_unit_micros: int = 0
    unit: str | None = None
    units_max: int = 0
    next: NextPrice | None = None
