"""What Stripe has of ours, as it is listed to be compared: invoices, payments for credits, refunds and transfers."""

import enum
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from domain.model.stripe_purchase import order_of

# Stripe tries a failed invoice again for some weeks, and a dispute is decided within months: what is older and not over
# is asked for by its id.
LOOK_BACK: Final = timedelta(days=35)
# News of Stripe's arrive within seconds, and within the hour when somebody was away for a moment.
LOOK_AGAIN_AFTER: Final = timedelta(hours=1)
# After that the report says that nothing was compared, and the next day is tried.
GIVE_UP_AFTER: Final = timedelta(hours=12)


class ObjectKind(enum.StrEnum):
    """The lists that are read, in this order."""

    INVOICE = "invoice"
    PAYMENT = "payment"
    REFUND = "refund"
    TRANSFER = "transfer"


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An object of Stripe's, as far as it is compared."""

    kind: ObjectKind
    stripe_id: str
    mark: UUID | None
    """The row of ours that made it; None: none did."""
    payment: str | None = None
    """Of a refund: Stripe's id of the payment."""
    status: str
    amount_cents: int
    back_cents: int = 0
    """Of a transfer: what was taken back of it."""


class ListedPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list, newest first."""

    objects: list[Listed]
    last_id: str | None
    """The last object of the page; None: there is no page behind it."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How far a comparison is."""

    id: UUID
    started_at: datetime
    since: datetime
    kind: ObjectKind
    """The list that is being read."""
    last_id: str | None
    listed_at: datetime | None


def mark_of(metadata: Mapping[str, str]) -> UUID | None:
    """Return which row of ours made something at Stripe: an order, or a row of the outbox."""
    return order_of(metadata)


def is_compared(listed: Listed) -> bool:
    """Tell whether an object is of any interest: made by us, or a refund, which may be one of a payment to us."""
    return listed.mark is not None or listed.kind is ObjectKind.REFUND


def read_on(comparison: Comparison, page: ListedPage, *, now: datetime) -> Comparison:
    """Return where reading goes on behind this page: in the list, in the next one, or nowhere."""
    if page.last_id is not None:
        return msgspec.structs.replace(comparison, last_id=page.last_id)
    kinds = list(ObjectKind)
    following = kinds.index(comparison.kind) + 1
    if following == len(kinds):
        return msgspec.structs.replace(comparison, last_id=None, listed_at=now)
    return msgspec.structs.replace(comparison, kind=kinds[following], last_id=None)
