"""Earnings as they are shown: whole micros, months and days in UTC."""

from datetime import date
from uuid import UUID

import msgspec

from api.usage.views import month_text
from domain.store.earned import EarnedBalance, EarnedMonth, EarnedPart


class EarnedMonthView(msgspec.Struct, frozen=True, kw_only=True):
    """What was booked in a month: for casts that were settled, and back for casts that were refunded."""

    month: str
    earned_micros: int
    refunded_micros: int


class EarningsView(msgspec.Struct, frozen=True, kw_only=True):
    """What the account's spells earned it in all, and where it is; `earned_micros` is the sum of the amounts below it.

    A share is pending until the money behind it is collected: the invoice paid, the purchase of credits 14 days old.
    """

    earned_micros: int
    """In all, less what was paid back."""
    pending_micros: int
    payable_micros: int
    """What the next payouts pay. Below zero: refunds and disputes took more than there was; it is taken off first."""
    under_way_micros: int
    """In payouts that Stripe has not confirmed yet."""
    paid_micros: int
    lost_micros: int
    """Of invoices nobody paid and purchases that were refunded or disputed. It comes back if the money does."""
    unbilled_micros: int
    """Of casts while the platform billed nobody. It is never paid."""
    months: list[EarnedMonthView]
    """Six, the present one last."""
    currency: str = "usd"


class EarnedSums(msgspec.Struct, frozen=True, kw_only=True):
    """What was booked: by the day it was settled or refunded; casts by the day they were accepted, free ones too."""

    casts: int
    earned_micros: int
    refunded_micros: int


class EarnedDay(EarnedSums, frozen=True, kw_only=True):
    """A day."""

    date: date


class EarnedDays(msgspec.Struct, frozen=True, kw_only=True):
    """Days in order, each of them, and their sum."""

    data: list[EarnedDay]
    total: EarnedSums
    currency: str = "usd"


class EarnedSpell(EarnedSums, frozen=True, kw_only=True):
    """A spell, as owner/name."""

    spell_id: UUID
    spell: str


class EarnedSpells(msgspec.Struct, frozen=True, kw_only=True):
    """Spells, the one that earned most first, and the sum of those shown."""

    data: list[EarnedSpell]
    total: EarnedSums
    has_more: bool
    """There are more spells than are shown; the export has all."""
    currency: str = "usd"


def earnings_view(balance: EarnedBalance, months: list[EarnedMonth], shown: list[date]) -> EarningsView:
    """Return what is shown of a balance, and of the months `shown`, which need not be among `months`."""
    found = {one.month: one for one in months}
    return EarningsView(
        **msgspec.structs.asdict(balance),
        months=[
            EarnedMonthView(
                month=month_text(month),
                earned_micros=found[month].earned_micros if month in found else 0,
                refunded_micros=found[month].refunded_micros if month in found else 0,
            )
            for month in shown
        ],
    )


def sums_of(parts: list[EarnedPart]) -> EarnedSums:
    """Return the sum of parts."""
    return EarnedSums(
        casts=sum(part.casts for part in parts),
        earned_micros=sum(part.earned_micros for part in parts),
        refunded_micros=sum(part.refunded_micros for part in parts),
    )


def day_view(day: date, part: EarnedPart | None) -> EarnedDay:
    """Return a day, on which there may have been nothing."""
    sums = sums_of([] if part is None else [part])
    return EarnedDay(date=day, **msgspec.structs.asdict(sums))


def spell_view(part: EarnedPart) -> EarnedSpell:
    """Return a spell."""
    assert part.spell_id is not None, "it was asked for by spell"
    assert part.spell is not None, "spells are never deleted"
    return EarnedSpell(spell_id=part.spell_id, spell=part.spell, **msgspec.structs.asdict(sums_of([part])))
