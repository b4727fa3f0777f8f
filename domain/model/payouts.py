"""What a creator is paid of what he is owed, and when. Pure.

A payout is whole cents; what is left over stays owed, and so does everything that is not paid for another reason: the
next payout is made of the ledger as it is then, not of this one's rest.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import msgspec

from domain.model.pricing import MICROS_PER_CENT

# Stripe takes a fixed fee for each payout and for each account that is paid in a month: below this it would be a tenth
# of the amount and more.
MINIMUM_CENTS: Final = 1_000
# A card is disputed, a cast refunded within days as a rule: what became payable since is not paid yet, so that creators
# seldom owe something back. Stripe itself has a card's money for transfers after two days, a bank debit's after four.
HELD_BACK: Final = timedelta(days=7)
# Invoices go out on the 1st, and what is collected by the 8th has been payable for long enough then.
PAYS_ON_DAY: Final = 15
# Codes of refusals that say the account cannot be paid, whoever asks. Whatever else Stripe refuses, too little money on
# the platform's own balance for one, may be mended, and is tried again.
FINAL_CODES: Final = frozenset(
    {"account_invalid", "insufficient_capabilities_for_transfer", "resource_missing", "transfers_not_allowed"}
)

Outcome = Literal[
    "waiting", "frozen", "nothing", "below_minimum", "held_back", "no_account", "account_disabled", "suspended"
]


class PayoutAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Who a creator is at Stripe, as Stripe last said."""

    account_id: UUID
    epoch: int
    tried_at: datetime
    stripe_account_id: str | None
    details_submitted: bool
    transfers_active: bool
    payouts_enabled: bool
    disabled_reason: str | None
    asked_at: datetime | None
    created_at: datetime

    @property
    def key(self) -> str:
        """The Idempotency-Key of making it at Stripe."""
        return f"connected-account:{self.account_id}:{self.epoch}"

    @property
    def status(self) -> Literal["none", "incomplete", "active", "disabled"]:
        """How it stands, in a word: `active` can be paid."""
        if self.stripe_account_id is None:
            return "none"
        if self.transfers_active:
            return "active"
        return "disabled" if self.details_submitted else "incomplete"


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says a creator is owed. Negative: he owes it, and it is netted."""

    payable_micros: int
    fresh_micros: int
    """What of it became payable within HELD_BACK."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a creator in a run."""

    outcome: Outcome
    amount_cents: int = 0


def judge(owed: Owed, account: PayoutAccount | None, *, is_suspended: bool) -> Verdict:
    """Decide whether a creator is paid, and how much: never more than is owed, and no part of a cent."""
    if owed.payable_micros <= 0:
        return Verdict(outcome="nothing")
    if is_suspended:
        return Verdict(outcome="suspended")
    assert owed.fresh_micros >= 0, "what became payable is credited"
    cents = (owed.payable_micros - owed.fresh_micros) // MICROS_PER_CENT
    if cents < MINIMUM_CENTS:
        is_fresh = owed.payable_micros >= MINIMUM_CENTS * MICROS_PER_CENT
        return Verdict(outcome="held_back" if is_fresh else "below_minimum")
    if account is None or account.status in {"none", "incomplete"}:
        return Verdict(outcome="no_account")
    if account.status == "disabled":
        return Verdict(outcome="account_disabled")
    return Verdict(outcome="frozen", amount_cents=cents)


def fresh_since(now: datetime) -> datetime:
    """Return since when what became payable is held back."""
    return now - HELD_BACK


def is_due(now: datetime) -> bool:
    """Tell whether the month that is over is to be paid out. Before that day nothing begins by itself."""
    return now.astimezone(UTC).day >= PAYS_ON_DAY
