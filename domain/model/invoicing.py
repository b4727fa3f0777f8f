"""An invoice, made of what the ledger says and no line has yet. Pure.

Micros become cents once per invoice, rounded down; what is left over opens the next one, to the micro. Stripe gets one
item a month of acceptance, each of whole cents, whose sum is the total.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from domain.model.intents import ItemIntent
from domain.model.periods import month_of, next_month
from domain.model.pricing import MICROS_PER_CENT

# Stripe collects nothing below: it is carried until there is as much.
MINIMUM_CENTS: Final = 50
# From the 1st at 00:00 UTC an account is billed as soon as none of its casts of the month is open; at this hour in any
# case. A cast may wait for a day: what settles later is late usage of the next run.
GRACE: Final = timedelta(hours=6)
CENTS_PER_DOLLAR: Final = 100
# Before anything there is.
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What is owed for a month's casts of a spell and in no line yet. Negative after a refund."""

    month: date
    spell_id: UUID
    calls: int
    amount_micros: int
    share_micros: int = 0
    """What of it goes to the spell's creator once it is paid."""


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice the account has already: everything of its month and of those before that was settled until then."""

    period: date
    frozen_at: datetime
    carry_out_micros: int


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What is frozen. `carry_in + usage = total + carry_out`, to the micro."""

    period: date
    lines: tuple[Difference, ...]
    usage_micros: int
    carry_in_micros: int
    carry_out_micros: int
    total_cents: int
    """0: too little to collect, everything is carried."""
    calls: int
    description: str
    items: tuple[ItemIntent, ...]

    @property
    def is_carried(self) -> bool:
        """Whether nothing is collected."""
        return self.total_cents == 0


def last_month(now: datetime) -> date:
    """Return the month that is over: the one a run bills which begins at `now`."""
    return month_of(begins_at(month_of(now)) - timedelta(days=1))


def begins_at(month: date) -> datetime:
    """Return the first instant of a month."""
    return datetime.combine(month, datetime.min.time(), UTC)


def carry_of(freezes: Sequence[Freeze]) -> int:
    """Return what the latest invoice left over; `freezes` begin with it."""
    return freezes[0].carry_out_micros if freezes else 0


def is_over(period: date, now: datetime) -> bool:
    """Tell whether a month is over, so that it may be billed."""
    return period < month_of(now)


def taken_anyway_at(period: date) -> datetime:
    """Return when an account is billed although casts of the month are open."""
    return begins_at(next_month(period)) + GRACE


def state(period: date, differences: Sequence[Difference], *, carry_in_micros: int) -> Statement | None:
    """Return the statement of these differences; None when there are none: what was carried stays where it is."""
    if not differences:
        return None
    usage_micros = sum(line.amount_micros for line in differences)
    owed_micros = carry_in_micros + usage_micros
    cents = owed_micros // MICROS_PER_CENT
    total_cents = cents if cents >= MINIMUM_CENTS else 0
    calls = sum(line.calls for line in differences)
    return Statement(
        period=period,
        lines=tuple(differences),
        usage_micros=usage_micros,
        carry_in_micros=carry_in_micros,
        carry_out_micros=owed_micros - total_cents * MICROS_PER_CENT,
        total_cents=total_cents,
        calls=calls,
        description=usage_text(period, calls=calls, cents=total_cents),
        items=_items(period, differences, carry_in_micros) if total_cents else (),
    )


def settled_after(month: date, freezes: Sequence[Freeze]) -> datetime:
    """Return when a month was last frozen: casts of it that were settled until then are in a line, later ones are not.

    A run freezes no month behind its own, so it says nothing of those.
    """
    return max((freeze.frozen_at for freeze in freezes if freeze.period >= month), default=NEVER)


def _items(period: date, differences: Sequence[Difference], carry_in_micros: int) -> tuple[ItemIntent, ...]:
    """Return an item a month, the period's first; each is what the sum of all until it has more in whole cents."""
    months = sorted({line.month for line in differences}, key=lambda month: (month != period, month))
    items: list[ItemIntent] = []
    sum_micros, sum_cents = carry_in_micros, 0
    for month in months:
        lines = [line for line in differences if line.month == month]
        sum_micros += sum(line.amount_micros for line in lines)
        cents = sum_micros // MICROS_PER_CENT - sum_cents
        sum_cents += cents
        if cents:
            calls = sum(line.calls for line in lines)
            text = usage_text if month == period else late_text
            items.append(ItemIntent(amount_cents=cents, description=text(month, calls=calls, cents=cents)))
    return tuple(items)


def usage_text(period: date, *, calls: int, cents: int) -> str:
    """Return what an invoice is called; the base product's customers look for it."""
    return f"Spell Platform API Usage - {period:%B %Y} ({calls} calls, {dollars(cents)})"


def late_text(month: date, *, calls: int, cents: int) -> str:
    """Return what an item is called whose casts were settled after their month was billed."""
    return f"{late_label(month)} ({calls} calls, {dollars(cents)})"


def late_label(month: date) -> str:
    """Return what a line of an earlier month is called."""
    return f"late usage of {month:%B %Y}"


def dollars(cents: int) -> str:
    """Return an amount as it is written on an invoice."""
    whole, rest = divmod(abs(cents), CENTS_PER_DOLLAR)
    return f"{'-' if cents < 0 else ''}${whole}.{rest:02d}"
