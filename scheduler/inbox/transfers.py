"""Transfers to creators: what is taken back of one is owed again."""

from functools import partial
from typing import Final

from domain.flow.follow_transfer import follow_transfer
from domain.store.connection import Connection
from scheduler.inbox.flows import Asked, Flow, Shop, Write
from scheduler.outbox.steps import row_of


async def look(shop: Shop, asked: Asked) -> Write:
    """Fetch the transfer. One that no payout made is nobody's here."""
    transfer = await shop.stripe.transfers.retrieve(asked.subject_id)
    payout_id = row_of(transfer.metadata)
    if payout_id is None:
        return _nothing
    return partial(follow_transfer, payout_id=payout_id, found=transfer, now=asked.asked_at)


async def _nothing(_: Connection) -> None:
    """Leave everything as it is."""


TRANSFERS: Final = Flow(name="transfers", look=look)
