"""What a creator earned, in micros, and where it is."""

import datetime as dt

import msgspec


class EarnedMonth(msgspec.Struct, frozen=True, kw_only=True):
    """What was booked in a month."""

    month: str
    """`2026-11`, in UTC."""
    earned_micros: int
    refunded_micros: int


class Earnings(msgspec.Struct, frozen=True, kw_only=True):
    """What the account's spells earned it in all, less what was paid back; the amounts below add up to it."""

    earned_micros: int
    pending_micros: int
    """The money behind it is not collected yet."""
    payable_micros: int
    """What the next payouts pay; below zero it is taken off them."""
    under_way_micros: int
    """In payouts that are not confirmed yet."""
    paid_micros: int
    lost_micros: int
    """The money behind it never came, or went back."""
    unbilled_micros: int = 0
    """Of casts while the platform billed nobody."""
    months: tuple[EarnedMonth, ...] = ()
    """Six, the present one last."""
    currency: str = "usd"


class EarnedSums(msgspec.Struct, frozen=True, kw_only=True):
    """Sums: of casts that were accepted, and of what was booked for casts and taken back for refunds."""

    casts: int
    earned_micros: int
    refunded_micros: int


class EarnedDay(EarnedSums, frozen=True, kw_only=True):
    """A day, in UTC."""

    date: dt.date


class EarnedDays(msgspec.Struct, frozen=True, kw_only=True):
    """Days in order, and their sum."""

    data: tuple[EarnedDay, ...]
    total: EarnedSums


class EarnedSpell(EarnedSums, frozen=True, kw_only=True):
    """A spell, as owner/name."""

    spell_id: str
    spell: str


class EarnedSpells(msgspec.Struct, frozen=True, kw_only=True):
    """Spells, the one that earned most first, and the sum of those that are here."""

    data: tuple[EarnedSpell, ...]
    total: EarnedSums
    has_more: bool = False
    """The export has all."""
