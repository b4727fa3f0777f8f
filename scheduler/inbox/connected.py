"""Creators' accounts at Stripe: whatever changed in one, it is looked at whole."""

from functools import partial
from typing import Final

from domain.flow.onboard_creator import follow_connected
from domain.model.stripe_money import ConnectedAccount
from gateways.stripe.errors import StripeRefused
from scheduler.inbox.flows import Asked, Flow, Shop, Write

# Stripe's words for an account that is gone, or has taken the platform's access to it away.
_GONE: Final = frozenset({"account_invalid", "resource_missing"})


async def look(shop: Shop, asked: Asked) -> Write:
    """Fetch the account the event happened in; one that is gone can be paid no more."""
    assert asked.connected_account_id is not None, "the flow is about these alone"
    try:
        found = await shop.stripe.accounts.retrieve(asked.connected_account_id)
    except StripeRefused as refusal:
        if refusal.code not in _GONE:
            raise
        found = gone(asked.connected_account_id)
    return partial(follow_connected, found=found, asked_at=asked.asked_at)


def gone(connected_id: str) -> ConnectedAccount:
    """Return how an account stands that Stripe does not know (any more)."""
    return ConnectedAccount(
        id=connected_id,
        details_submitted=True,
        transfers_active=False,
        payouts_enabled=False,
        disabled_reason="gone",
        metadata={},
        is_deleted=True,
    )


CONNECTED_ACCOUNTS: Final = Flow(name="connected-accounts", look=look, is_connected=True)
