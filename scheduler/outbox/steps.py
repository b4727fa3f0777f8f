"""What a kind of outgoing money is made of: a short list of steps, and what its end changes here."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final
from uuid import UUID

import msgspec

from domain.flow.outbox import Apply
from domain.model.outbox import Done, OutboxRow, OutboxStatus
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeRefused

# In the metadata of whatever a row makes at Stripe, with the row's id: what a look finds it by.
OUTBOX_MARK: Final = "spell_outbox"
# A key of Stripe that is wrong, or may not do this: nothing about the row.
_ACCESS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

Send = Callable[[StripeGateway, OutboxRow], Awaitable[Done]]
Look = Callable[[StripeGateway, OutboxRow], Awaitable[Done | None]]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One request, or some that only read. Each may be made again at any time."""

    send: Send
    """Makes the request under `row.key` and returns what it learned. Raises a StripeFailure, or StepError."""
    look: Look | None = None
    """Returns what `send` would, from what Stripe has, or None when it is not there. None: the step only reads."""


class MoneyKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of outgoing money."""

    first: str
    """The step a new row begins with. A step may have a number behind a hyphen: `item-2` is the step `item`."""
    steps: Mapping[str, Step]
    apply: Apply
    tell_end: Callable[[OutboxRow], None] = lambda _row: None
    """Logs that a row has ended, once."""
    tell_trouble: Callable[[OutboxRow, str], None] = lambda _row, _reason: None
    """Logs why a row is held up, where that needs other words than those all kinds have."""
    refused: Callable[[OutboxRow, StripeRefused], Done | None] = lambda _row, _refusal: None
    """Returns the end of a row that Stripe refused, or None: it stays, is tried again, and somebody is told."""

    def step_of(self, row: OutboxRow) -> Step:
        """Return the step a row is at."""
        return self.steps[row.step.partition("-")[0]]


class StepError(Exception):
    """What Stripe has is not what the row says. Nothing goes on until a person has looked."""


def marks(row: OutboxRow, **more: str) -> dict[str, str]:
    """Return the metadata of what a row makes."""
    return {OUTBOX_MARK: str(row.id), **more}


def is_marked(metadata: Mapping[str, str], row: OutboxRow) -> bool:
    """Tell whether something at Stripe was made by this row."""
    return metadata.get(OUTBOX_MARK) == str(row.id)


def row_of(metadata: Mapping[str, str]) -> UUID | None:
    """Return the id of the row that made something at Stripe; None when that was none of ours."""
    try:
        return UUID(metadata.get(OUTBOX_MARK, ""))
    except ValueError:
        return None


def end_refused(row: OutboxRow, refusal: StripeRefused) -> Done | None:
    """Return the end of a row whose no is final, for `MoneyKind.refused`; None when it is our own access that fails."""
    del row
    if refusal.status in _ACCESS:
        return None
    return Done(next=None, known={"code": refusal.code, "reason": str(refusal)}, status=OutboxStatus.REFUSED)
