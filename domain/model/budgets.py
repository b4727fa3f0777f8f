"""Budgets as the rest of the model sees them."""

from datetime import date
from uuid import UUID, uuid5


def window_id(budget_id: UUID, starts_on: date) -> UUID:
    """Return the id of a budget's window: it follows from what it is, so making it twice makes one."""
    return uuid5(budget_id, starts_on.isoformat())
