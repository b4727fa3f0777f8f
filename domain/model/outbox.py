"""The outbox of money, as decisions: under which key a step is sent, when to look first, when to try again. Pure.

A row is an intent that never changes, and a place in a short list of steps. A step that asks Stripe for something sends
the key of row, step and epoch with it, so that asking twice does it once. Stripe keeps a key for a day, and the answer
with it, a 500 too. Behind either the key is of no use any more: what the step would make is looked for, and only when
it is not there the epoch is raised and the step sent again.
"""

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

# Stripe keeps keys for 24 hours at least; four of them are for clocks, and for a request that is still under way.
KEY_LASTS: Final = timedelta(hours=20)
# A restart at Stripe takes seconds, a bad deploy of theirs an hour. There is no last one: money is never given up.
RETRY_PAUSES: Final[Sequence[timedelta]] = (
    timedelta(seconds=1),
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
)
# What was refused is refused again until somebody has changed something.
BLOCKED_PAUSE: Final = timedelta(hours=1)
# Attempts of one step without success, after which an operator is told: with the pauses above, within a minute.
TROUBLED_ATTEMPTS: Final = 4
TROUBLE_CHARACTERS_MAX: Final = 500


class OutboxKind(enum.StrEnum):
    """What a row is about."""

    INVOICE = "invoice"
    REFUND = "refund"
    TOPUP = "topup"
    PAYOUT = "payout"


class OutboxStatus(enum.StrEnum):
    """Whether there is anything left to do. A row that is not pending never changes."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"
    """A definite no that the kind knows what to do with: a declined card, for one."""


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that somebody works on until `lease_until`."""

    id: UUID
    account_id: UUID
    kind: OutboxKind
    subject_id: UUID
    frozen: msgspec.Raw
    """JSON of the intent: a struct of its kind."""
    created_at: datetime
    step: str
    epoch: int
    known: Mapping[str, str]
    """What the steps before this one learned."""
    tried_at: datetime
    """When this step's key was first sent, or is about to be."""
    must_look: bool
    attempts: int
    """Of this step, the one under way among them."""
    lease_until: datetime

    @property
    def key(self) -> str:
        """The Idempotency-Key of this step."""
        return f"{self.id}:{self.step}:{self.epoch}"

    def key_is_spent(self, now: datetime) -> bool:
        """Tell whether Stripe may have forgotten the key, or stored an answer under it that is of no use."""
        return self.must_look or now - self.tried_at >= KEY_LASTS


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A step that went well, or was found done."""

    next: str | None
    """The step behind it; None: that was the last."""
    known: Mapping[str, str] = {}
    """What it learned, kept for the steps behind it and for whoever is told the end."""
    status: OutboxStatus = OutboxStatus.DONE
    """What becomes of the row when this was the last step."""


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a row, as its kind's part of the domain is told."""

    id: UUID
    account_id: UUID
    subject_id: UUID
    frozen: msgspec.Raw
    known: Mapping[str, str]
    status: OutboxStatus


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why a step did not end."""

    reason: str
    spends_key: bool = False
    """Stripe stored this answer: the same key gets it again."""
    blocks: bool = False
    """A definite no: it will be the same until somebody changes something."""
    retry_after_s: int | None = None
    """What Stripe asks for."""


def next_attempt_at(trouble: Trouble, *, attempts: int, now: datetime) -> datetime:
    """Return when a step is tried again whose `attempts`-th attempt, counted from 1, ended in `trouble`."""
    assert attempts > 0
    if trouble.blocks:
        return now + BLOCKED_PAUSE
    pause = RETRY_PAUSES[min(attempts, len(RETRY_PAUSES)) - 1]
    if trouble.retry_after_s is not None:
        pause = max(pause, timedelta(seconds=trouble.retry_after_s))
    return now + pause


def storable_trouble(reason: str) -> str:
    """Return what is kept of a reason: bounded, and without a character that Postgres does not take."""
    return reason.replace("\0", "")[:TROUBLE_CHARACTERS_MAX]
