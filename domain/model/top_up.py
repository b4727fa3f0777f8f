"""Automatic top-up: a package is bought when credits run low. Off until somebody sets it."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from domain.model.credits import Package
from domain.model.errors import Code, Fault, refuse
from domain.model.pricing import MICROS_PER_CENT

# A year of the largest package a day: beyond it a cap is a typing mistake.
CAP_CENTS_MAX: Final = 100_000_000


class AutoTopUp(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has set."""

    account_id: UUID
    enabled: bool
    package_id: str
    threshold_micros: int
    """It is bought when less than this is available."""
    monthly_cap_micros: int
    """Of money, in a calendar month."""
    paused_at: datetime | None
    updated_at: datetime


class KeptCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card that may be charged while its owner is away, by Stripe's ids."""

    customer_id: str
    payment_method_id: str


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand with an account, read under its lock."""

    available_micros: int
    open_orders: int
    """Top-ups that are being paid."""
    spent_micros: int
    """On top-ups of this month, those being paid too."""


def is_due(wanted: AutoTopUp, need: Need, package: Package) -> bool:
    """Tell whether to begin a payment now: never a second beside an open one, and never over the cap."""
    return (
        wanted.enabled
        and wanted.paused_at is None
        and need.available_micros < wanted.threshold_micros
        and need.open_orders == 0
        and need.spent_micros + package.price_cents * MICROS_PER_CENT <= wanted.monthly_cap_micros
    )


def check_auto_top_up(*, threshold_micros: int, monthly_cap_cents: int, package: Package, credit_micros: int) -> None:
    """Raise RefusedError (validation) for a setting that would never do anything, or never stop."""
    faults: list[Fault] = []
    if threshold_micros >= package.credits * credit_micros:
        message = f"one {package.name} package does not lift the balance over it"
        fix = f"Set less than {package.credits} credits, or choose a larger package."
        faults.append(Fault(location="threshold", message=message, fix=fix))
    if monthly_cap_cents < package.price_cents:
        message = f"one {package.name} package costs {package.price_cents} cents"
        fix = f"Set {package.price_cents} at least, or choose a smaller package."
        faults.append(Fault(location="monthly_cap_cents", message=message, fix=fix))
    if faults:
        raise refuse(Code.VALIDATION, f"The top-up cannot be so: {faults[0].message}.", faults=tuple(faults))
