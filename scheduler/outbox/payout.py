"""Payouts: one request, which sends money to a creator's account.

`known` at the end: `transfer_id`, or `code` and `reason` of the refusal. A refusal ends the row only where it says that
the account cannot be paid, and nothing was sent: then the amount is owed again, so both must be sure.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from domain.model.intents import PayoutIntent
from domain.model.invoicing import dollars
from domain.model.outbox import Done, OutboxRow, OutboxStatus
from domain.model.payouts import FINAL_CODES
from domain.model.stripe_money import Transfer
from gateways.stripe.client import StripeGateway
from gateways.stripe.errors import StripeRefused
from scheduler.outbox.steps import Step, StepError, is_marked, marks

log: Final = logging.getLogger("spell.payouts")

# Stripe's clock and ours.
SINCE: Final = timedelta(days=1)
# What a missing object must be for the account to be gone: another one missing says nothing about it.
_DESTINATION: Final = "destination"


async def _send(stripe: StripeGateway, row: OutboxRow) -> Done:
    intent = _intent(row)
    try:
        transfer = await stripe.transfers.pay(
            intent.destination_id,
            amount_cents=intent.amount_cents,
            description=intent.description,
            metadata=marks(row),
            key=row.key,
        )
    except StripeRefused as refusal:
        # An account that cannot be paid any more may have been paid by an attempt before, which nobody heard of.
        found = await _look(stripe, row) if _is_final(refusal) else None
        if found is None:
            raise
        return found
    return _done(row, transfer)


async def _look(stripe: StripeGateway, row: OutboxRow) -> Done | None:
    try:
        transfer = await stripe.transfers.find(
            _intent(row).destination_id,
            since=row.created_at - SINCE,
            matches=lambda found: is_marked(found.metadata, row),
        )
    except StripeRefused as refusal:
        # That nobody can look is no answer to whether it was sent.
        message = f"transfers to {_intent(row).destination_id} cannot be listed: {refusal}"
        raise StepError(message) from None
    return None if transfer is None else _done(row, transfer)


def _done(row: OutboxRow, transfer: Transfer) -> Done:
    amount_cents = _intent(row).amount_cents
    if transfer.amount_cents != amount_cents:
        message = f"transfer {transfer.id} is of {transfer.amount_cents} cents at Stripe and of {amount_cents} here"
        raise StepError(message)
    return Done(next=None, known={"transfer_id": transfer.id})


def _is_final(refusal: StripeRefused) -> bool:
    if refusal.code == "resource_missing" and refusal.param != _DESTINATION:
        return False
    return refusal.code in FINAL_CODES


def end_refused(row: OutboxRow, refusal: StripeRefused) -> Done | None:
    """Return the end of a payout to an account that cannot be paid; None for whatever may be mended."""
    del row
    if not _is_final(refusal):
        return None
    return Done(next=None, known={"code": refusal.code, "reason": str(refusal)}, status=OutboxStatus.REFUSED)


def tell_end(row: OutboxRow) -> None:
    """Log what operators search for."""
    intent = _intent(row)
    log.info("Payout of %s for creator %s has ended", dollars(intent.amount_cents), row.account_id)


def tell_trouble(row: OutboxRow, reason: str) -> None:
    """Log whose payout is held up, and why."""
    log.error("Failed to pay creator %s: %s", row.account_id, reason)


def _intent(row: OutboxRow) -> PayoutIntent:
    return msgspec.json.decode(row.frozen, type=PayoutIntent)


PAYOUT_STEPS: Final[Mapping[str, Step]] = {"pay": Step(send=_send, look=_look)}
