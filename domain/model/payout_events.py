"""What a creator is told of his payouts. Pure."""

from datetime import date
from typing import Final
from uuid import UUID, uuid5

import msgspec

from domain.model.events import Event, Letter
from domain.model.invoicing import dollars
from domain.model.webhooks import EventType

_encode: Final = msgspec.json.Encoder().encode
_PAGE: Final = "`spell payouts list` (GET /v1/payouts) shows all of them."


class PayoutFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What of a payout is told."""

    payout_id: UUID
    account_id: UUID
    period: date
    amount_cents: int
    transfer_id: str | None = None
    refused_code: str | None = None
    reversed_cents: int = 0


def paid_event(payout: PayoutFacts) -> Event:
    """Return the event of a payout that arrived at Stripe."""
    amount = dollars(payout.amount_cents)
    letter = Letter(
        subject=f"You were paid {amount}",
        text=(
            f"{amount} of what your spells earned is on your account at Stripe, which hands it on to your bank."
            f"\n\n{_PAGE}"
        ),
    )
    return _event(payout, EventType.PAYOUT_PAID, "paid", letter)


def failed_event(payout: PayoutFacts) -> Event:
    """Return the event of a payout that Stripe does not take for the creator's account."""
    amount = dollars(payout.amount_cents)
    letter = Letter(
        subject=f"A payout of {amount} failed",
        text=(
            f"Stripe does not take {amount} for your account ({payout.refused_code}). Nothing is lost: it is owed to"
            " you as before, and paid with the next month's payout.\n\n`spell payouts onboard`"
            " (POST /v1/payouts/onboarding) opens the page where Stripe says what it still needs of you."
        ),
    )
    return _event(payout, EventType.PAYOUT_FAILED, "failed", letter)


def reversed_event(payout: PayoutFacts) -> Event:
    """Return the event of a payout that was taken back, `reversed_cents` of it so far."""
    amount = dollars(payout.reversed_cents)
    letter = Letter(
        subject=f"{amount} of a payout were taken back",
        text=(
            f"Of the payout of {payout.period:%B %Y}, {dollars(payout.amount_cents)}, {amount} were taken back from"
            f" your account at Stripe. They are owed to you again, and paid with the next payout.\n\n{_PAGE}"
        ),
    )
    return _event(payout, EventType.PAYOUT_REVERSED, f"reversed {payout.reversed_cents}", letter)


def _event(payout: PayoutFacts, kind: EventType, what: str, letter: Letter) -> Event:
    told = {
        "payout_id": payout.payout_id,
        "period": f"{payout.period:%Y-%m}",
        "amount_cents": payout.amount_cents,
        "currency": "usd",
        "stripe_transfer_id": payout.transfer_id,
        "failure_code": payout.refused_code,
        "reversed_cents": payout.reversed_cents,
    }
    return Event(
        event_id=uuid5(payout.payout_id, what),
        account_id=payout.account_id,
        type=kind,
        payload=_encode(told).decode(),
        letter=_encode(letter).decode(),
    )
